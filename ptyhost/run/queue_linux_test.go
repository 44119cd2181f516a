//go:build amd64 || arm64

package run_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// newPort makes a port of a host, without a session to wait for, and starts a program for it.
func newPort(t *testing.T) (uart.Port, programs, string) {
	t.Helper()
	h := newHost(t)
	path := filepath.Join(t.TempDir(), "ttyV0")
	p, err := h.Open(context.Background(), uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p, programs{puppet(t, h)}, path
}

// collect takes what Next returns until it has this many bytes. at is where in the data each event was.
func collect(t *testing.T, p uart.Port, most int) (data []byte, events []string, at []int) {
	t.Helper()
	over := time.AfterFunc(testenv.Patience, func() { _ = p.Close() })
	defer over.Stop()
	for len(data) < most {
		b, e, err := p.Next()
		if err != nil {
			t.Fatalf("next after %d of %d bytes: %v", len(data), most, err)
		}
		if e.Kind != uart.KindData {
			events, at = append(events, e.String()), append(at, len(data))
		}
		data = append(data, b...)
	}
	return data, events, at
}

// TestOpenWaitsForRoom: programs that open, write and close while nobody takes their bytes are held back: an open waits
// until there is room. In the end all of them have written, one after the other.
func TestOpenWaitsForRoom(t *testing.T) {
	t.Parallel()
	p, programs, path := newPort(t)
	const rounds, size = 20, 8 << 10
	came := make(chan int, rounds)
	failed := make(chan error, 1)
	go func() {
		defer close(came)
		for i := range rounds {
			program, err := programs.Open(path)
			if err == nil {
				_, err = program.Write(bytes.Repeat([]byte{byte('a' + i)}, size))
			}
			if err == nil {
				err = program.Close()
			}
			if err != nil {
				failed <- err
				return
			}
			came <- i
		}
	}()
	n := 0
	for quiet := time.NewTimer(time.Second); ; quiet.Reset(time.Second) {
		select {
		case _, ok := <-came:
			if !ok {
				t.Fatal("no open has waited")
			}
			n++
			continue
		case err := <-failed:
			t.Fatal(err)
		case <-quiet.C:
		}
		break
	}
	if n == 0 || n*size > 128<<10 {
		t.Errorf("%d programs of %d bytes each came and went before an open waited", n, size)
	}
	data, events, at := collect(t, p, rounds*size)
	for i := range rounds {
		if part := data[i*size : (i+1)*size]; !bytes.Equal(part, bytes.Repeat([]byte{byte('a' + i)}, size)) {
			t.Fatalf("the bytes of program %d are in the wrong place", i)
		}
	}
	opens := 0
	for i, e := range events {
		if e == "opened" {
			if at[i] != opens*size {
				t.Errorf("open %d is reported at byte %d, want %d", opens, at[i], opens*size)
			}
			opens++
		}
	}
	if opens != rounds {
		t.Errorf("%d opens were reported, want %d", opens, rounds)
	}
}

// TestFewChangesAreNotHeld: a program that changes its settings between its bytes while nobody takes them is held back
// by its writes alone. Its changes keep their places as long as there is room, and no byte is ever lost.
func TestFewChangesAreNotHeld(t *testing.T) {
	t.Parallel()
	p, programs, path := newPort(t)
	program, err := programs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	const rounds, size = 60, 8 << 10
	set, written := make(chan int, rounds), make(chan int, rounds)
	go func() {
		for i := range rounds {
			if _, err := program.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
				return
			}
			written <- i
			if err := program.Set(uart.Event{Coding: uart.Coding{Baud: uint32(1000 + i)}}); err != nil {
				return
			}
			set <- i
		}
	}()
	for last := -1; ; last = len(set) {
		time.Sleep(500 * time.Millisecond)
		if len(set) == last {
			break
		}
	}
	if len(set) != len(written) {
		t.Error("a change of settings was held")
	}
	if got := len(written) * size; got < 64<<10 || got > 320<<10 {
		t.Errorf("a program could write %d bytes", got)
	}
	data, events, at := collect(t, p, rounds*size)
	for i := range rounds {
		if part := data[i*size : (i+1)*size]; !bytes.Equal(part, bytes.Repeat([]byte{byte(i)}, size)) {
			t.Fatalf("round %d: its bytes are in the wrong place", i)
		}
	}
	exact := 0
	for i, e := range events {
		if e == "settings 1000 8N1 none" && at[i] == size || e == "settings 1010 8N1 none" && at[i] == 11*size {
			exact++
		}
	}
	if exact != 2 {
		t.Errorf("changes were reported in the wrong place: %q at %v", events, at)
	}
}
