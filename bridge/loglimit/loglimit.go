// Package loglimit limits how many lines a peer can cause in a log. The peer decides how often it connects, what it
// sends, and how often it hangs up, but people have to read the log. So a burst of lines is written at once, and after
// that one at intervals: the newest of the highest level, with the number of lines left out. The package knows only
// records; their meaning is the caller's.
//
// bridge uses it for its remote, accessserver for the sessions of its clients. There a line of any text must be written
// sooner or later. The other limit is the access server's refusals: it counts connections without a session by kind,
// which a slog.Handler cannot do without knowing the kinds. So there are two.
package loglimit

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Window is the time in which a Handler passes its number of records.
const Window = time.Minute

// Handler is a slog.Handler that passes a number of records within any Window, and no more. Of the records beyond that it
// keeps one, the newest of the highest level, until it may pass another: so a client that connects again and again does
// not hide a lost port. The kept record gets the attribute left_out, the number of records that were dropped; Flush
// passes it at once. Records below slog.LevelInfo always pass: they are enabled only on request.
//
// Its methods may be called from any goroutine. The handler below must not block: it is called with a lock held.
type Handler struct {
	to slog.Handler
	*limit
}

// limit is shared by all handlers that derive from one (WithAttrs, WithGroup).
type limit struct {
	mu      sync.Mutex  // guards everything below; held during calls of the handler below, which keeps their order
	written []time.Time // when the last records passed, as many as a Window may have
	next    int         // index of the oldest of written
	kept    *slog.Record
	keptTo  slog.Handler
	leftOut int
	timer   *time.Timer // passes kept
}

// New returns a handler that passes up to most records (1 if most is less) to the handler to within any Window.
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
		// It fires once, or Flush stops it.
		l.timer = time.AfterFunc(time.Until(l.written[l.next].Add(Window)), l.Flush)
	}
	r = r.Clone()
	l.kept, l.keptTo = &r, h.to
	return nil
}

// write passes a record. The caller holds mu.
func (l *limit) write(to slog.Handler, r slog.Record) error {
	l.written[l.next] = time.Now()
	l.next = (l.next + 1) % len(l.written)
	return to.Handle(context.Background(), r)
}

// Flush passes the kept record now. It does not block.
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
	_ = l.write(to, r) // the caller that logged it is gone
}
