package loglimit_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/loglimit"
)

const most = 6

// lines is a log that keeps its lines for the test.
type lines struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

// take returns the lines since the last call.
func (l *lines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.out.Reset()
	return strings.FieldsFunc(l.out.String(), func(r rune) bool { return r == '\n' })
}

func limited(level slog.Level) (*loglimit.Handler, *slog.Logger, *lines) {
	out := new(lines)
	h := loglimit.New(slog.NewTextHandler(out, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}), most)
	return h, slog.New(h), out
}

func TestFewLinesPassAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, log, out := limited(slog.LevelInfo)
		for i := range 3 * most {
			log.Info("line", "n", i)
			if got := out.take(); len(got) != 1 || got[0] != fmt.Sprintf("level=INFO msg=line n=%d", i) {
				t.Fatalf("line %d: %q", i, got)
			}
			time.Sleep(loglimit.Window / most)
		}
	})
}

func TestManyLinesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, log, out := limited(slog.LevelInfo)
		other := log.With("port", "ttyV0") // it shares the limit
		var all []time.Time
		for i := range 60 * 600 { // ten minutes, 60 a second
			if i%2 == 0 {
				log.Info("line", "n", i)
			} else {
				other.Warn("line", "n", i)
			}
			for range out.take() {
				all = append(all, time.Now())
			}
			time.Sleep(time.Second / 60)
		}
		for i, at := range all {
			if n := i + most; n < len(all) && all[n].Sub(at) < loglimit.Window-time.Second/30 {
				t.Errorf("lines %d to %d came within %v", i, n, all[n].Sub(at))
			}
		}
		if least := 9 * most; len(all) < least {
			t.Errorf("%d lines in ten minutes, want %d at least", len(all), least)
		}
	})
}

func TestTheNewestIsWrittenAndTheOthersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, log, out := limited(slog.LevelInfo)
		port := log.With("port", "ttyV0")
		for i := range most + 5 {
			port.Info("line", "n", i)
		}
		if got := out.take(); len(got) != most {
			t.Fatalf("%d lines at once, want %d: %q", len(got), most, got)
		}
		time.Sleep(2 * loglimit.Window)
		want := fmt.Sprintf("level=INFO msg=line port=ttyV0 n=%d left_out=4", most+4)
		if got := out.take(); len(got) != 1 || got[0] != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		log.Info("later")
		if got := out.take(); len(got) != 1 || got[0] != "level=INFO msg=later" {
			t.Fatalf("got %q", got)
		}
	})
}

// A record of a higher level is not replaced by later ones.
func TestTheGravestIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, log, out := limited(slog.LevelInfo)
		for range most {
			log.Info("line")
		}
		log.Info("client left")
		log.Warn("bytes dropped")
		log.Error("port lost", "n", 1)
		log.Error("port lost", "n", 2)
		log.Warn("bytes dropped")
		log.Info("client left")
		out.take()
		time.Sleep(2 * loglimit.Window)
		const want = "level=ERROR msg=\"port lost\" n=2 left_out=5"
		if got := out.take(); len(got) != 1 || got[0] != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestDebugPasses(t *testing.T) {
	_, log, out := limited(slog.LevelDebug)
	for range 5 * most {
		log.Debug("line")
	}
	if got := out.take(); len(got) != 5*most {
		t.Fatalf("%d lines", len(got))
	}
}

func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log, out := limited(slog.LevelInfo)
		h.Flush() // nothing is kept yet
		for i := range most + 2 {
			log.Info("line", "n", i)
		}
		out.take()
		h.Flush()
		want := fmt.Sprintf("level=INFO msg=line n=%d left_out=1", most+1)
		if got := out.take(); len(got) != 1 || got[0] != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		h.Flush()
		time.Sleep(2 * loglimit.Window) // nothing comes again
		if got := out.take(); len(got) != 0 {
			t.Fatalf("got %q", got)
		}
	})
}
