package tcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// A long write arrives whole and in order although the peer is slow; the next piece is small. A peer that takes everything
// at once gets a large one.
func TestConnPaces(t *testing.T) {
	near, far := connPair(t)
	if got := near.Piece(1 << 20); got != bulkPiece {
		t.Errorf("at first: got a piece of %d, want %d", got, bulkPiece)
	}
	sent := make([]byte, 16<<20) // more than any buffer takes
	for i := range sent {
		sent[i] = byte(i / 7)
	}
	done := make(chan error, 1)
	go func() {
		n, err := near.Write(sent)
		if n != len(sent) && err == nil {
			err = io.ErrShortWrite
		}
		done <- err
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("read: %v; equal: %v", err, bytes.Equal(got, sent))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := near.Piece(1 << 20); got != slowPiece {
		t.Errorf("after a write that waited: got a piece of %d, want %d", got, slowPiece)
	}
	if _, err := near.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := near.Piece(1 << 20); got != bulkPiece {
		t.Errorf("after a write that did not: got a piece of %d, want %d", got, bulkPiece)
	}
}

// A round trip allocates nothing, and a connection that waits has no buffer.
func TestConnLends(t *testing.T) {
	near, far := connPair(t)
	p, q := []byte("ping"), make([]byte, 4)
	n := testing.AllocsPerRun(1000, func() {
		if _, err := near.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(far, q); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Write(q); err != nil {
			t.Fatal(err)
		}
		if got, err := near.ReadLent(); err != nil || string(got) != "ping" {
			t.Fatalf("read: %q, %v", got, err)
		}
	})
	if n != 0 && !testenv.Race {
		t.Errorf("%v allocations a round trip, want none", n)
	}
	_ = near.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := near.ReadLent(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
	if near.lent != nil {
		t.Error("the connection holds a buffer although nothing came")
	}
}

// A round trip wakes only the thread that waits for it: net.Conn's calls wake the runtime's monitor as well.
func TestConnWakesNoOtherThread(t *testing.T) {
	near, far := connPair(t)
	file, err := far.File()
	if err != nil {
		t.Fatal(err)
	}
	echo := exec.Command("cat")
	echo.Stdin, echo.Stdout = file, file
	if err := echo.Start(); err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	_ = far.Close()
	defer func() { _ = near.Close(); _ = echo.Wait() }()
	ours, theirs := 0.0, 0.0
	for range 5 { // a busy machine adds switches to either
		ours = switchesPerTrip(t, near)
		theirs = switchesPerTrip(t, near.TCPConn)
		t.Logf("switches a round trip: %.2f, of net.Conn's %.2f", ours, theirs)
		if ours < theirs {
			return
		}
	}
	if !testenv.Race {
		t.Errorf("%.2f switches a round trip, want fewer than net.Conn's %.2f", ours, theirs)
	}
}

// switchesPerTrip returns how often this process waits in the kernel per echo.
func switchesPerTrip(t *testing.T, c net.Conn) float64 {
	t.Helper()
	const trips = 2000
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	p := []byte("x")
	for range trips {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(p); err != nil {
			t.Fatal(err)
		}
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	return float64(after.Nvcsw-before.Nvcsw) / trips
}
