package tcp

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connPair is a Conn, and the server's end. They are closed with the test, which fails if something does not come in time.
func connPair(t *testing.T) (near *Conn, far *net.TCPConn) {
	t.Helper()
	conn, far := pair(t)
	_, _ = conn.SetDeadline(time.Time{}), far.SetDeadline(time.Time{}) // the deadlines are the test's
	over := time.AfterFunc(enough, func() { _ = conn.Close(); _ = far.Close() })
	t.Cleanup(func() {
		if !over.Stop() {
			t.Errorf("something did not come within %v", enough)
		}
	})
	near, err := newConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

// A Conn ends as net.Conn does, in each way.
func TestConnEnds(t *testing.T) {
	buf := make([]byte, 10)
	read := func(c net.Conn) error { _, err := c.Read(buf); return err }
	write := func(c net.Conn) (err error) {
		for err == nil { // until nothing fits, or the peer is known to be gone
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
			near, far := connPair(t)
			err := tt.do(near, far)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
