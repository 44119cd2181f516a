// Package devicetest has what the tests of serialport, simulate and the access server share: a bench that drives a uart.Device and
// records what it receives, and, on Linux, a pty that can be unplugged. Only tests use it. It knows no server.
package devicetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// Bench is a device and everything that it has received. Its methods are for the test's goroutine.
type Bench struct {
	uart.Device
	Over  chan struct{} // closed when Next has returned an error
	Bytes []byte        // received; a test reads it, Came and When only after End or while nothing comes; else Seen
	Came  []string      // the same with the events, one entry for each Next
	When  time.Duration // of the last byte, since New

	t     *testing.T
	start time.Time
	mu    sync.Mutex // guards Came
}

// New returns a bench with an open device. The test closes it.
func New(t *testing.T, d uart.Device) *Bench {
	return &Bench{Device: d, t: t, start: time.Now(), Over: make(chan struct{})}
}

// Read starts a goroutine that collects what comes from the line until the device is closed.
func (b *Bench) Read() *Bench {
	go func() {
		defer close(b.Over)
		for {
			p, e, err := b.Next()
			if err != nil {
				return
			}
			what := e.String()
			switch {
			case e.Kind == uart.KindData:
				what = fmt.Sprintf("%q", p)
			case len(p) > 0: // a break's NUL
				what += fmt.Sprintf(" %q", p)
			}
			b.mu.Lock()
			b.Came = append(b.Came, what)
			b.mu.Unlock()
			b.Bytes = append(b.Bytes, p...)
			b.When = time.Since(b.start)
		}
	}()
	return b
}

// Seen returns a copy of Came.
func (b *Bench) Seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.Came)
}

// Text returns all bytes in Seen, without the events.
func (b *Bench) Text() string {
	var all strings.Builder
	for _, c := range b.Seen() {
		var s string
		if _, err := fmt.Sscanf(c, "%q", &s); err == nil {
			all.WriteString(s)
		}
	}
	return all.String()
}

// Send writes p; the device must accept all of it.
func (b *Bench) Send(p string) {
	b.t.Helper()
	if n, err := b.Write([]byte(p)); n != len(p) || err != nil {
		b.t.Fatalf("write: got %d, %v", n, err)
	}
}

// Set applies settings, which must not fail, and returns the resulting ones.
func (b *Bench) Set(e uart.Event) uart.Event {
	b.t.Helper()
	inForce, err := b.Apply(e)
	if err != nil {
		b.t.Fatal(err)
	}
	return inForce
}

// End closes the device and waits for the reader.
func (b *Bench) End() {
	_ = b.Close()
	<-b.Over
}

// Coding returns an event that requests a line coding, written as for uart.ParseCoding.
func Coding(t *testing.T, s string) uart.Event {
	t.Helper()
	c, err := uart.ParseCoding(s)
	if err != nil {
		t.Fatal(err)
	}
	return uart.Event{Coding: c}
}

// Expect fails the test if the two lists differ.
func Expect(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %s\nwant %s", what, strings.Join(got, "; "), strings.Join(want, "; "))
	}
}

// Eventually waits for cond, which must become true.
func Eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(testenv.Patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", testenv.Patience, what)
		}
	}
}
