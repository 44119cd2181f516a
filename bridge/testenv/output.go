package testenv

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// Output collects what a program prints or logs, for assertions and messages. The zero value is ready. Its methods may be
// called from any goroutine, but Await only from the test's.
type Output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String returns everything written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Await waits until the output contains text.
func (o *Output) Await(t testing.TB, text string) {
	t.Helper()
	for end := time.Now().Add(Patience); !strings.Contains(o.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q was not shown within %v:\n%s", text, Patience, o)
		}
	}
}
