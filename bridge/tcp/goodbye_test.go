package tcp_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"telnetcpc/bridge/tcp"
)

// Goodbye sends FIN first and reads until the peer's, so everything that was sent arrives although the peer sends too.
func TestGoodbye(t *testing.T) {
	l, err := tcp.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const size = 1 << 20
	got := make(chan int64, 1)
	go func() { // ends with Goodbye
		conn, err := l.Accept()
		if err != nil {
			got <- -1
			return
		}
		defer conn.Close()
		_, _ = conn.Write(make([]byte, 1000))
		n, err := io.Copy(io.Discard, conn)
		if err != nil {
			n = -1
		}
		_, _ = conn.Write(make([]byte, 1000))
		got <- n
	}()
	conn, err := tcp.Dial(t.Context(), l.Addr().String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	dropped := 0
	tcp.Goodbye(conn.CloseWrite, func() (int, error) {
		p, err := conn.ReadLent()
		dropped += len(p)
		return len(p), err
	}, 1<<20)
	_ = conn.Close()
	if n := <-got; n != size || dropped != 2000 {
		t.Errorf("%d bytes arrived and %d were dropped, want %d and 2000", n, dropped, size)
	}
}

// Goodbye reads no more than it may, and nothing if there is no FIN.
func TestGoodbyeEnds(t *testing.T) {
	reads := 0
	next := func() (int, error) { reads++; return 10, nil }
	tcp.Goodbye(func() error { return nil }, next, 95)
	if reads != 10 {
		t.Errorf("%d reads of 10 bytes, want 10 for a limit of 95 bytes", reads)
	}
	reads = 0
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	tcp.Goodbye(func() error { return tcp.CloseWrite(near) }, next, 95)
	if reads != 0 {
		t.Errorf("%d reads of a connection that cannot close its half, want none", reads)
	}
	if err := tcp.CloseWrite(near); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite of a pipe: %v, want %v", err, errors.ErrUnsupported)
	}
}

// Past makes a blocked read return.
func TestPast(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	time.AfterFunc(time.Millisecond, func() { _ = near.SetReadDeadline(tcp.Past()) })
	var timeout net.Error
	if _, err := near.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v, want a timeout", err)
	}
}
