//go:build unix || windows

package tcp_test

import (
	"io"
	"net"
	"testing"
	"time"

	"telnetcpc/bridge/tcp"
)

// What has come can be looked at without taking it, nothing is waited for, and the end of a peer is no byte.
func TestPeek(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near := accepted.(*net.TCPConn)
	defer near.Close()
	_ = near.SetDeadline(time.Now().Add(time.Minute))
	socket := tcp.SocketOf(near)
	if first, any := socket.Peek(); any {
		t.Errorf("nothing was sent, and there is 0x%02x", first)
	}
	if _, err := far.Write([]byte{0xFF, 2}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // it takes its way through the kernel
		if first, any := socket.Peek(); any {
			if first != 0xFF {
				t.Errorf("got 0x%02x, want 0xff", first)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing is to be seen of what was sent")
		}
	}
	if _, any := socket.Peek(); !any {
		t.Error("the look has taken it")
	}
	if err := far.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if p, err := io.ReadAll(near); string(p) != "\xff\x02" || err != nil {
		t.Errorf("read % x, %v", p, err)
	}
	if first, any := socket.Peek(); any {
		t.Errorf("the end is 0x%02x", first)
	}
}
