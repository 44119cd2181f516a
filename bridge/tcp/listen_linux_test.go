package tcp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A client that came before anybody accepted it has the options that later ones have: the window of one that came between
// listening and a later setting shrinks below its segments, and it sends some 50 KB a second.
func TestListen(t *testing.T) {
	_, accepted := served(t)
	raw, err := accepted.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var size, inline int
	var info *unix.TCPInfo
	err = raw.Control(func(fd uintptr) {
		size = receiveBuffer(int(fd))
		inline, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE)
		info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err != nil || info == nil {
		t.Fatalf("its options: %v", err)
	}
	if size != ReceiveBuffer || inline != 1 {
		t.Errorf("room %d, urgent data in line %d; want %d and 1", size, inline, ReceiveBuffer)
	}
	if info.Rcv_space > ReceiveBuffer*2 {
		t.Errorf("the window that was promised: %d bytes; want no more than %d", info.Rcv_space, 2*ReceiveBuffer)
	}
}
