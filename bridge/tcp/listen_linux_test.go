package tcp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A client that connects before Accept is called has the options too. If they were set after listening, the window of a client
// that came in between would shrink below its segments, and it would send some 50 KB a second.
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
		t.Fatalf("its options are unknown: %v", err)
	}
	if size != ReceiveBuffer || inline != 1 {
		t.Errorf("receive buffer %d, SO_OOBINLINE %d; want %d and 1", size, inline, ReceiveBuffer)
	}
	if info.Rcv_space > ReceiveBuffer*2 {
		t.Errorf("the announced window is %d bytes, want no more than %d", info.Rcv_space, 2*ReceiveBuffer)
	}
}
