package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/escape"
	"telnetcpc/bridge/uart"
)

const (
	// sightsLimit is how many sights may wait to be shown before more are dropped.
	sightsLimit = 4096
	// gatherTime is how long bytes are collected to be shown as one sight.
	gatherTime = 100 * time.Millisecond
)

// sight is one thing that the far UART did.
type sight struct {
	at     time.Time
	event  uart.Event
	data   []byte // KindData: what left the UART
	coding uart.Coding
}

func (s sight) String() string {
	switch s.event.Kind {
	case uart.KindData:
		return fmt.Sprintf("data %d %s", len(s.data), escape.Quote(s.data))
	case uart.KindOpened:
		return "session opened"
	case uart.KindClosed:
		return "session closed"
	}
	return s.event.String()
}

// sights queues what the far UART did until it is shown.
type sights struct {
	wake chan struct{} // one slot: something was queued

	mu    sync.Mutex // guards queue and lost
	queue []sight
	lost  int // dropped since next last returned one: the queue was full
}

// observe queues what the far UART did; consecutive bytes join one sight. It never blocks, because the simulated line
// stops during the call.
func (w *sights) observe(r simulate.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.queue) - 1; n >= 0 && r.Event.Kind == uart.KindData {
		last := &w.queue[n]
		if last.event.Kind == uart.KindData && last.coding == r.Coding && len(last.data) < escape.QuoteLimit {
			last.data = append(last.data, r.Data...)
			return
		}
	}
	if len(w.queue) == sightsLimit {
		w.lost++
		return
	}
	w.queue = append(w.queue, sight{time.Now(), r.Event, append([]byte(nil), r.Data...), r.Coding})
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next waits for the next sight, and for bytes until gatherTime has passed or something else follows them. lost is how
// many sights are missing before it; ok is false when ctx has ended.
func (w *sights) next(ctx context.Context) (s sight, lost int, ok bool) {
	for {
		var gathered <-chan time.Time
		w.mu.Lock()
		if len(w.queue) > 0 {
			s = w.queue[0]
			age := time.Since(s.at)
			if len(w.queue) > 1 || s.event.Kind != uart.KindData || age >= gatherTime {
				lost, w.queue, w.lost = w.lost, w.queue[1:], 0
				w.mu.Unlock()
				return s, lost, true
			}
			gathered = time.After(gatherTime - age)
		}
		w.mu.Unlock()
		select {
		case <-w.wake:
		case <-gathered:
		case <-ctx.Done():
			return s, 0, false
		}
	}
}
