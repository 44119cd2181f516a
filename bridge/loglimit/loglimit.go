// Package loglimit bounds what a peer can have written into a log. Whoever is at the other end of a connection decides
// how often it connects, what it says, and how often it hangs up; the log is for people to read. So a burst of lines is
// written at once, and then one now and then: the newest of the gravest, with the number of those that were left out. It
// knows lines; what is in them, and which peer they are about, is the caller's.
package loglimit

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Window is the time within which a Handler hands on so many records.
const Window = time.Minute

// Handler is a slog.Handler that hands on a number of records within any Window, and no more. Of those that come beyond that
// one is kept until there is room again, the newest of the highest level: a lost port is not left out for a client that
// comes and goes. It is handed on with the attribute left_out, the number of those that were not; with Flush it is handed
// on at once. Records below slog.LevelInfo pass always: they are written only
// where somebody asks for them.
//
// Any goroutine may use it. The handler below it must not block: it is called with a lock held.
type Handler struct {
	to slog.Handler
	*limit
}

// limit is what all handlers share that were made of one.
type limit struct {
	mu      sync.Mutex  // over everything below, and the calls of the handler: it keeps the order
	written []time.Time // when the last ones were, as many as a Window may have
	next    int         // the oldest of written
	kept    *slog.Record
	keptTo  slog.Handler
	leftOut int
	timer   *time.Timer // hands on what is kept
}

// New returns a handler in front of to, for at most so many records within any Window; at least one.
func New(to slog.Handler, most int) *Handler {
	return &Handler{to, &limit{written: make([]time.Time, max(most, 1))}}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.to.Enabled(ctx, l) }

// WithAttrs implements slog.Handler. The new handler shares the limit.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{h.to.WithAttrs(attrs), h.limit}
}

// WithGroup implements slog.Handler. The new handler shares the limit.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.to.WithGroup(name), h.limit}
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return h.to.Handle(ctx, r)
	}
	l := h.limit
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil && time.Since(l.written[l.next]) >= Window {
		return l.write(h.to, r)
	}
	if l.kept != nil {
		l.leftOut++
		if r.Level < l.kept.Level {
			return nil
		}
	} else {
		// Ends by itself, or stopped by Flush.
		l.timer = time.AfterFunc(time.Until(l.written[l.next].Add(Window)), l.Flush)
	}
	r = r.Clone()
	l.kept, l.keptTo = &r, h.to
	return nil
}

// write hands a record on. The caller holds mu.
func (l *limit) write(to slog.Handler, r slog.Record) error {
	l.written[l.next] = time.Now()
	l.next = (l.next + 1) % len(l.written)
	return to.Handle(context.Background(), r)
}

// Flush hands on what is kept, however soon. It does not block.
func (l *limit) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		return
	}
	l.timer.Stop()
	r := *l.kept
	if l.leftOut > 0 {
		r.AddAttrs(slog.Int("left_out", l.leftOut))
	}
	to := l.keptTo
	l.kept, l.keptTo, l.leftOut = nil, nil, 0
	_ = l.write(to, r) // whoever wrote it is gone
}
