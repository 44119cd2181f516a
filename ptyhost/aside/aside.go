// Package aside provides a logger that does not wait for its handler. Hosts log while they hold a port's lock, or from
// the goroutine that carries its bytes or answers its programs: none of them may block because the log does. It must
// not know ports.
//
// The hosts wrap their logger in Logger; the command calls Wait before it exits. bridge/asynclog does the same one
// layer lower, for the formatted lines of the whole program; its package comment explains why there are two.
package aside

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// room is how many lines may wait. That is enough because hosts log an event once, or at most once per close.
const room = 64

// Logger returns a logger that passes its lines to log's handler, in order, and never waits for it. While the handler
// blocks, up to room lines wait; further ones are dropped, and one line reports their number. A nil log is
// slog.Default(). The logger may be used from any goroutine.
//
// Handle starts the goroutine that calls the handler if it is not running; it ends when no line waits.
func Logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		log = slog.Default()
	}
	return slog.New(handler{log.Handler(), &queue{}})
}

// waiting is how many lines of all loggers have not been handled yet. It is a package variable because Wait is called
// once for the whole process.
var waiting atomic.Int64

// Wait waits until every line logged before has been handled, but no longer than limit, and reports whether they have
// been. A process that exits without it loses its last lines. It may be called from any goroutine.
func Wait(limit time.Duration) bool {
	const pause = time.Millisecond
	for end := time.Now().Add(limit); waiting.Load() > 0; time.Sleep(pause) {
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

// line is a waiting line.
type line struct {
	to     slog.Handler
	record slog.Record
}

// queue is shared by all handlers of one logger.
type queue struct {
	mu      sync.Mutex // guards everything below; never held over a call of a handler
	waiting []line
	dropped int  // lines dropped after the waiting ones
	running bool // the goroutine runs
}

// Enabled implements slog.Handler.
func (h handler) Enabled(ctx context.Context, level slog.Level) bool { return h.to.Enabled(ctx, level) }

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(a []slog.Attr) slog.Handler { return handler{h.to.WithAttrs(a), h.queue} }

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.to.WithGroup(name), h.queue} }

// Handle implements slog.Handler. It never blocks and never fails.
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
		go h.run()
	}
	return nil
}

// run is the goroutine: it passes the waiting lines to their handlers.
func (q *queue) run() {
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
