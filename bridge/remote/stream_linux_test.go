package remote

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// streamPair is a stream as connect makes it, and the server's end, as tcpPair's.
func streamPair(t *testing.T) (near net.Conn, far *net.TCPConn) {
	t.Helper()
	conn, far := tcpPair(t)
	near, err := newStream(conn)
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

// tcpPair is both ends of a connection. They are closed with the test, which fails where something does not come in time.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near, far = conn.(*net.TCPConn), accepted.(*net.TCPConn)
	over := time.AfterFunc(time.Minute, func() { _ = near.Close(); _ = far.Close() })
	t.Cleanup(func() {
		if !over.Stop() {
			t.Error("something did not come within a minute")
		}
		_ = near.Close()
		_ = far.Close()
	})
	return near, far
}

// A stream does what net.Conn does, in each of its ends.
func TestStreamEnds(t *testing.T) {
	buf := make([]byte, 10)
	read := func(c net.Conn) error { _, err := c.Read(buf); return err }
	write := func(c net.Conn) (err error) {
		for err == nil { // until nothing fits, or it is known that the peer is gone
			_, err = c.Write(make([]byte, 1<<20))
		}
		return err
	}
	for _, tt := range []struct {
		name string
		do   func(near net.Conn, far *net.TCPConn) error
		want error
	}{
		{"the peer closes", func(near net.Conn, far *net.TCPConn) error { _ = far.Close(); return read(near) }, io.EOF},
		{"a read's deadline", func(near net.Conn, _ *net.TCPConn) error {
			_ = near.SetReadDeadline(time.Now().Add(time.Millisecond))
			return read(near)
		}, os.ErrDeadlineExceeded},
		{"a write's deadline", func(near net.Conn, _ *net.TCPConn) error {
			_ = near.SetWriteDeadline(time.Now().Add(time.Millisecond))
			return write(near)
		}, os.ErrDeadlineExceeded},
		{"closed in a read", func(near net.Conn, _ *net.TCPConn) error {
			time.AfterFunc(time.Millisecond, func() { _ = near.Close() })
			return read(near)
		}, net.ErrClosed},
		{"closed in a write", func(near net.Conn, _ *net.TCPConn) error {
			time.AfterFunc(time.Millisecond, func() { _ = near.Close() })
			return write(near)
		}, nil},
		{"reset", func(near net.Conn, far *net.TCPConn) error {
			_ = far.SetLinger(0)
			_ = far.Close()
			return read(near)
		}, unix.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(streamPair(t))
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
