package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// screen is what a command has printed so far.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// shows waits until the text is there.
func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(testenv.Patience); !strings.Contains(s.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in %v it has not shown %q:\n%s", testenv.Patience, text, s)
		}
	}
}

// Behind the proof the port is the newcomer's, and what his program does is shown.
func TestDemoToTry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := new(screen)
	ended := make(chan error, 1)
	go func() { ended <- demo(ctx, out, path, false) }()
	out.shows(t, "    picocom -b 19200 "+path+"\n")
	out.shows(t, "Ctrl-C ends this")

	app, err := openTTY(path)
	if err != nil {
		t.Fatal(err)
	}
	out.shows(t, "  session opened\n")
	if err := app.set(uart.Coding{Baud: 4800, StopBits: uart.Stop2}, uart.FlowNone); err != nil {
		t.Fatal(err)
	}
	out.shows(t, "  settings 4800")
	if _, err := app.WriteString("\x1b[2J!"); err != nil {
		t.Fatal(err)
	}
	out.shows(t, `"\x1b[2J!"`)
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	out.shows(t, "  session closed\n")

	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("the end by Ctrl-C: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the port is still there")
	}
}
