package aside_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telnetcpc/ptyhost/aside"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stopped is a log's file that blocks until the test releases it.
type stopped struct {
	came, goOn chan struct{}

	mu   sync.Mutex // guards everything below
	text bytes.Buffer
}

func (s *stopped) Write(p []byte) (int, error) {
	select {
	case s.came <- struct{}{}:
	default:
	}
	<-s.goOn
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *stopped) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestNobodyWaits: a blocked log blocks no caller; lines come in order, and those without room are counted in their place.
func TestNobodyWaits(t *testing.T) {
	s := &stopped{came: make(chan struct{}, 1), goOn: make(chan struct{})}
	log := aside.Logger(slog.New(slog.NewTextHandler(s, nil)).With("port", "a")).With("more", 1).WithGroup("g")
	log.Info("first", "n", 0)
	<-s.came // the log is writing it, so it does not wait any more
	for i := range 100 {
		log.Info("later", "n", i+1)
	}
	if aside.Wait(0) {
		t.Error("Wait reports that no line waits")
	}
	close(s.goOn)
	if !aside.Wait(time.Minute) {
		t.Error("lines still wait")
	}
	if !strings.Contains(s.String(), "n=64") {
		t.Errorf("the last line is not there: %s", s)
	}
	for end := time.Now().Add(time.Minute); !strings.Contains(s.String(), "lines=36"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %s", s)
		}
	}
	got := strings.Split(s.String(), "\n")
	for i, line := range got[:65] {
		if want := fmt.Sprintf("port=a more=1 g.n=%d", i); !strings.HasSuffix(line, want) {
			t.Errorf("line %d: got %q, want %q at its end", i, line, want)
		}
	}
}

// TestQuiet: a line that is not enabled starts no goroutine.
func TestQuiet(t *testing.T) {
	aside.Logger(slog.New(slog.DiscardHandler)).Error("not enabled")
	aside.Logger(nil).Debug("nor this")
	if err := goleak.Find(); err != nil {
		t.Error(err)
	}
}
