//go:build unix || windows

package tcp_test

import (
	"io"
	"net"
	"testing"
	"time"

	"telnetcpc/bridge/tcp"
)

// Peek returns a received byte without consuming it, does not wait, and does not take the peer's end for a byte.
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
		t.Errorf("got 0x%02x though nothing was sent", first)
	}
	if _, err := far.Write([]byte{0xFF, 2}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // the kernel takes a moment
		if first, any := socket.Peek(); any {
			if first != 0xFF {
				t.Errorf("got 0x%02x, want 0xff", first)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("what was sent does not arrive")
		}
	}
	if _, any := socket.Peek(); !any {
		t.Error("Peek has consumed the byte")
	}
	if err := far.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if p, err := io.ReadAll(near); string(p) != "\xff\x02" || err != nil {
		t.Errorf("read % x, %v", p, err)
	}
	if first, any := socket.Peek(); any {
		t.Errorf("the end is returned as 0x%02x", first)
	}
}
