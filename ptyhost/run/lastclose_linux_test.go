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

// fakeBridge is the user of a port: it takes what the programs do, if told to, and reports what is unsent.
type fakeBridge struct {
	uart.Port
	mu     sync.Mutex // guards everything below
	unsent uart.Unsent
	change chan struct{} // unsent.Changed
	asked  int
}

// newFakeBridge makes a port of the host.
func newFakeBridge(t *testing.T, h *run.Host, path string, wait time.Duration, unsent uart.Unsent) *fakeBridge {
	t.Helper()
	b := &fakeBridge{}
	b.setUnsent(unsent)
	port, err := h.Open(context.Background(), uart.PortConfig{Path: path, OpenWait: wait, Unsent: b.reportUnsent})
	if err != nil {
		t.Fatal(err)
	}
	b.Port = port
	t.Cleanup(func() { _ = port.Close() })
	return b
}

func (b *fakeBridge) reportUnsent() uart.Unsent {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	return b.unsent
}

// setUnsent sets the result of Unsent, and wakes whoever has waited for the old one to change.
func (b *fakeBridge) setUnsent(u uart.Unsent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.change != nil {
		close(b.change)
	}
	b.change = make(chan struct{})
	u.Changed = b.change
	b.unsent, b.asked = u, 0
}

// takeAll takes everything that the programs do, in a goroutine that ends with the port; opens do not wait.
func (b *fakeBridge) takeAll() { b.takeAllTo(func([]byte, uart.Event) {}) }

// takeAllTo is takeAll with a callback.
func (b *fakeBridge) takeAllTo(see func([]byte, uart.Event)) {
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

// startOpen opens the port in a program that is already running.
func (b *fakeBridge) startOpen(t *testing.T, p programs, path string) <-chan uarttest.Program {
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

// wasAsked reports whether Unsent was called since setUnsent.
func (b *fakeBridge) wasAsked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked > 0
}

// mustWait fails if the open has returned although Unsent was called since setUnsent.
func (b *fakeBridge) mustWait(t *testing.T, done <-chan uarttest.Program) {
	t.Helper()
	eventually(t, "the open calls Unsent", func() bool { return b.wasAsked() || len(done) > 0 })
	select {
	case <-done:
		t.Fatal("the open has returned before the last program's bytes have left")
	case <-time.After(50 * time.Millisecond): // enough to return
	}
}

func mustReturn(t *testing.T, done <-chan uarttest.Program) uarttest.Program {
	t.Helper()
	select {
	case p := <-done:
		return p
	case <-time.After(testenv.Patience):
		t.Fatal("the open does not return")
		return nil
	}
}

// TestOpenWithASession: an open does not wait for a session that is up; nobody has to be told of it first.
func TestOpenWithASession(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newFakeBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Up: true})
	if err := mustReturn(t, b.startOpen(t, p, path)).Close(); err != nil {
		t.Error(err)
	}
}

// TestOpenWaitsForBytesBeforeLastClose: as long as they leave, and not for those of programs that have the port open.
// Another open before the next last close does not wait.
func TestOpenWaitsForBytesBeforeLastClose(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newFakeBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Up: true})
	b.takeAll()
	first := mustReturn(t, b.startOpen(t, p, path))
	if _, err := first.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	b.setUnsent(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := b.startOpen(t, p, path)
	b.mustWait(t, again)
	b.setUnsent(uart.Unsent{Left: time.Hour, Bytes: 1, Up: true})
	b.mustWait(t, again)
	b.setUnsent(uart.Unsent{Up: true})
	second := mustReturn(t, again)

	b.setUnsent(uart.Unsent{Left: time.Hour, Bytes: 100, Up: true})
	third := mustReturn(t, b.startOpen(t, p, path))
	_, _ = second.Close(), third.Close()
}

// TestOpenWithoutSessionWaitsForNoByte: without a session no byte leaves, so OpenWait is the only limit.
func TestOpenWithoutSessionWaitsForNoByte(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newFakeBridge(t, h, path, 300*time.Millisecond, uart.Unsent{})
	first := mustReturn(t, b.startOpen(t, p, path))
	if _, err := first.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	b.setUnsent(uart.Unsent{Left: time.Hour, Bytes: 5})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mustReturn(t, b.startOpen(t, p, path)).Close(); err != nil {
		t.Error(err)
	}
}
