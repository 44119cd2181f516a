//go:build amd64 || arm64

package run_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/run"
)

// bridge plays the one whom a port has: it takes what the programs do, if it is told to, and says what has not left.
type bridge struct {
	uart.Port
	mu     sync.Mutex // over all below
	unsent uart.Unsent
	change chan struct{} // unsent's
	asked  int
}

// newBridge makes a port of the host.
func newBridge(t *testing.T, h *run.Host, path string, wait time.Duration, says uart.Unsent) *bridge {
	t.Helper()
	b := &bridge{}
	b.says(says)
	port, err := h.Open(context.Background(), uart.PortConfig{Path: path, OpenWait: wait, Unsent: b.ask})
	if err != nil {
		t.Fatal(err)
	}
	b.Port = port
	t.Cleanup(func() { _ = port.Close() })
	return b
}

func (b *bridge) ask() uart.Unsent {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	return b.unsent
}

// says has what Unsent answers be u from now on, and wakes who has waited for that.
func (b *bridge) says(u uart.Unsent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.change != nil {
		close(b.change)
	}
	b.change = make(chan struct{})
	u.Changed = b.change
	b.unsent, b.asked = u, 0
}

// takes takes all that the programs do, in a goroutine that ends with the port; opens go on at once.
func (b *bridge) takes() { b.takesTo(func([]byte, uart.Event) {}) }

// takesTo is takes, and shows it to see.
func (b *bridge) takesTo(see func([]byte, uart.Event)) {
	go func() {
		for {
			data, e, err := b.Next()
			if err != nil {
				return
			}
			if e.Ready != nil {
				e.Ready(nil)
			}
			see(data, e)
		}
	}()
}

// opens opens the port by a program that is already there.
func (b *bridge) opens(t *testing.T, p programs, path string) <-chan uarttest.Program {
	t.Helper()
	done := make(chan uarttest.Program, 1)
	go func() {
		o, err := p.Open(path)
		if err != nil {
			t.Error(err)
		}
		done <- o
	}()
	return done
}

// wasAsked reports whether an open has asked since the bridge last said something else.
func (b *bridge) wasAsked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked > 0
}

// waits fails where an open has returned though Unsent was asked since it last said something else.
func (b *bridge) waits(t *testing.T, done <-chan uarttest.Program) {
	t.Helper()
	eventually(t, "the open asks", func() bool { return b.wasAsked() || len(done) > 0 })
	select {
	case <-done:
		t.Fatal("the open has returned, and the last program's bytes have not left")
	case <-time.After(50 * time.Millisecond): // it would have by now
	}
}

func returns(t *testing.T, done <-chan uarttest.Program) uarttest.Program {
	t.Helper()
	select {
	case p := <-done:
		return p
	case <-time.After(testenv.Patience):
		t.Fatal("the open does not return")
		return nil
	}
}

// TestOpenWithASession: an open waits for no session that is up: nobody has to hear of it first.
func TestOpenWithASession(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Up: true})
	if err := returns(t, b.opens(t, p, path)).Close(); err != nil {
		t.Error(err)
	}
}

// TestOpenWaitsForTheLastVisit: as long as its bytes leave, and not for those of programs that are there; another open of
// the same visit waits for nothing.
func TestOpenWaitsForTheLastVisit(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Up: true})
	b.takes()
	first := returns(t, b.opens(t, p, path))
	if _, err := first.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	b.says(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := b.opens(t, p, path)
	b.waits(t, again)
	b.says(uart.Unsent{Left: time.Hour, Bytes: 1, Up: true})
	b.waits(t, again)
	b.says(uart.Unsent{Up: true})
	second := returns(t, again)

	b.says(uart.Unsent{Left: time.Hour, Bytes: 100, Up: true})
	third := returns(t, b.opens(t, p, path))
	_, _ = second.Close(), third.Close()
}

// TestOpenWithoutSessionWaitsForNoByte: without a session none leaves: OpenWait is all.
func TestOpenWithoutSessionWaitsForNoByte(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newBridge(t, h, path, 300*time.Millisecond, uart.Unsent{})
	first := returns(t, b.opens(t, p, path))
	if _, err := first.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	b.says(uart.Unsent{Left: time.Hour, Bytes: 5})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := returns(t, b.opens(t, p, path)).Close(); err != nil {
		t.Error(err)
	}
}
