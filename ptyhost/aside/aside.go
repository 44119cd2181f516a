// Package aside lets the port hosts log without waiting for the log: they log under a port's lock, or in the one goroutine
// that carries its bytes or answers its programs, and a log that blocks must block none of these. It knows no port.
package aside

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// room is how many lines may wait. Hosts log a line once for each port, or at most once for each close.
const room = 64

// Logger returns a logger whose calls do not wait for log's handler: it gets the lines one after the other, in their order.
// While the handler blocks, up to room lines wait; more are dropped, and a line in their place has their number. A nil log is
// slog.Default(). Any goroutine may use it.
//
// The first line starts the goroutine that calls the handler; it ends when no line waits.
func Logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		log = slog.Default()
	}
	return slog.New(handler{log.Handler(), &queue{}})
}

// waiting is how many lines of all loggers have not passed their handlers yet. It is a package variable because Wait, before the
// process ends, is for all loggers.
var waiting atomic.Int64

// Wait waits until every line has passed its handler, but not longer than most: without it, a process that ends would lose the
// last lines. It reports whether all have. Any goroutine may call it.
func Wait(most time.Duration) bool {
	const interval = time.Millisecond
	for end := time.Now().Add(most); waiting.Load() > 0; time.Sleep(interval) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// handler is slog.Handler.
type handler struct {
	to slog.Handler
	*queue
}

// line is a line that waits for its handler.
type line struct {
	to     slog.Handler
	record slog.Record
}

// queue is what all handlers of one logger share.
type queue struct {
	mu      sync.Mutex // guards all below; held over nothing that waits
	waiting []line
	dropped int  // after the waiting ones
	running bool // the goroutine of drain exists
}

// Enabled implements slog.Handler.
func (h handler) Enabled(ctx context.Context, level slog.Level) bool { return h.to.Enabled(ctx, level) }

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(a []slog.Attr) slog.Handler { return handler{h.to.WithAttrs(a), h.queue} }

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.to.WithGroup(name), h.queue} }

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
	if !h.running {
		h.running = true
		go h.drain()
	}
	return nil
}

// drain is the goroutine that calls the handlers, until no line waits.
func (q *queue) drain() {
	var last slog.Handler
	for {
		q.mu.Lock()
		lines, dropped := q.waiting, q.dropped
		q.waiting, q.dropped = nil, 0
		if len(lines) == 0 && dropped == 0 {
			q.running = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		for _, l := range lines {
			_ = l.to.Handle(context.Background(), l.record)
			waiting.Add(-1)
			last = l.to
		}
		if dropped > 0 && last != nil {
			r := slog.NewRecord(time.Now(), slog.LevelWarn, "the log was blocked: lines were dropped", 0)
			r.Add("lines", dropped)
			_ = last.Handle(context.Background(), r)
		}
	}
}
