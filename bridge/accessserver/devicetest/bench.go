// Package devicetest is what the tests of both kinds of uart.Device share: a bench that drives one and records what comes from it,
// and, on Linux, an instrument at the other end of a pty. It is for tests, and knows no server.
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

// Bench is a device and everything that came from it.
type Bench struct {
	uart.Device
	Over  chan struct{} // closed when Next has returned an error
	Bytes []byte        // what came; a test reads it, Came and When after End, before that Seen
	Came  []string      // the same with the events between the bytes
	When  time.Duration // of the last byte, since New

	t     *testing.T
	start time.Time
	mu    sync.Mutex // over Came
}

// New returns a bench with an open device. The test closes it.
func New(t *testing.T, d uart.Device) *Bench {
	return &Bench{Device: d, t: t, start: time.Now(), Over: make(chan struct{})}
}

// Read collects what comes from the line until the device is closed.
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

// Seen is a copy of Came while the device is being read.
func (b *Bench) Seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.Came)
}

// Text is all bytes in Seen, without the events between them.
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

// Send writes p, which the device must take as a whole.
func (b *Bench) Send(p string) {
	b.t.Helper()
	if n, err := b.Write([]byte(p)); n != len(p) || err != nil {
		b.t.Fatalf("write: got %d, %v", n, err)
	}
}

// Set applies settings, which the device must take, and returns what is in force.
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

// Coding is an event that asks for a line coding, written as in uart.ParseCoding.
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
