// Package aside lets a host of ports log without waiting for the log: a line is made under a port's lock, or by the one
// goroutine that carries its bytes or answers its programs, and where the log stands still none of them may. It knows no
// port.
package aside

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// room is how many lines may wait. What hosts say they say once, or at most once a close.
const room = 64

// Logger returns a logger of which no call waits for the handler of log: lines go there one after the other, in their
// order. While the handler does not return up to 64 wait; more are dropped, and a line in their place says how many. nil:
// slog.Default(). Any goroutine may use it.
//
// The goroutine that waits for the handler is started by a line where there is none, and ends when no line waits.
func Logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		log = slog.Default()
	}
	return slog.New(handler{log.Handler(), &speaker{}})
}

// waiting is how many lines of all loggers the handlers have not taken yet. It is a package variable, as the end of the
// process is one for all.
var waiting atomic.Int64

// Wait waits until the handlers have taken every line that was written before, but for so long at most: whoever ends the
// process would lose the last ones. It reports whether they have. Any goroutine may call it.
func Wait(most time.Duration) bool {
	const look = time.Millisecond
	for end := time.Now().Add(most); waiting.Load() > 0; time.Sleep(look) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// handler is slog.Handler.
type handler struct {
	to slog.Handler
	*speaker
}

// line is one that waits.
type line struct {
	to     slog.Handler
	record slog.Record
}

// speaker is what all handlers of one logger share.
type speaker struct {
	mu      sync.Mutex // over all below; nothing waits under it
	waiting []line
	dropped int  // behind what waits
	speaks  bool // the goroutine runs
}

// Enabled implements slog.Handler.
func (h handler) Enabled(ctx context.Context, level slog.Level) bool { return h.to.Enabled(ctx, level) }

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(a []slog.Attr) slog.Handler { return handler{h.to.WithAttrs(a), h.speaker} }

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.to.WithGroup(name), h.speaker} }

// Handle implements slog.Handler. It never waits and never fails.
func (h handler) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dropped > 0 || len(h.waiting) == room {
		h.dropped++
	} else {
		h.waiting = append(h.waiting, line{h.to, r.Clone()})
		waiting.Add(1)
	}
	if !h.speaks {
		h.speaks = true
		go h.speak()
	}
	return nil
}

// speak gives the handler what waits.
func (s *speaker) speak() {
	var last slog.Handler
	for {
		s.mu.Lock()
		lines, dropped := s.waiting, s.dropped
		s.waiting, s.dropped = nil, 0
		if len(lines) == 0 && dropped == 0 {
			s.speaks = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		for _, l := range lines {
			_ = l.to.Handle(context.Background(), l.record)
			waiting.Add(-1)
			last = l.to
		}
		if dropped > 0 && last != nil {
			r := slog.NewRecord(time.Now(), slog.LevelWarn, "the log stood still: lines were dropped", 0)
			r.Add("lines", dropped)
			_ = last.Handle(context.Background(), r)
		}
	}
}
