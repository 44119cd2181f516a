package accessserver

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/uart"
)

// watchLimit is how many bytes wait for a watcher before it loses some.
const watchLimit = 256 << 10

// gallery is where watchers stand: they see what comes from the device, and what is in force. Nothing that they do, or
// do not do, holds anybody up. The zero value is empty.
type gallery struct {
	mu       sync.Mutex // over everything below, and over all of each watcher; held over no I/O
	inForce  uart.Event
	modem    uart.ModemState
	watchers []*watcher
}

// watcher is a client that only looks.
type watcher struct {
	g       *gallery
	changed sync.Cond
	seen    ordered.Stream[uart.Event]
	lost    uint64 // bytes and events that did not fit
	over    bool
}

// enter lets a watcher in; it sees what comes from now on.
func (g *gallery) enter() *watcher {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := &watcher{g: g}
	w.changed.L = &g.mu
	g.watchers = append(g.watchers, w)
	return w
}

// leave wakes next for good, and returns what was lost.
func (w *watcher) leave() (lost uint64) {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	w.over = true
	w.g.watchers = slices.DeleteFunc(w.g.watchers, func(other *watcher) bool { return other == w })
	w.changed.Broadcast()
	return w.lost
}

// next waits for what comes first; false: the watcher has left.
func (w *watcher) next(dst []byte) (n int, e uart.Event, ok bool) {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	for w.seen.Empty() && !w.over {
		w.changed.Wait()
	}
	if w.over {
		return 0, e, false
	}
	n, e = w.seen.Next(dst)
	return n, e, true
}

// breakNUL is what a watcher is shown instead of the byte as which a break was received: a line state of nothing.
var breakNUL = uart.Event{Kind: uart.KindLine}

func isBreakNUL(e uart.Event) bool { return e.Kind == uart.KindLine && e.Line == 0 }

// show shows what came from the device: bytes, or one event; a break with its NUL.
func (g *gallery) show(p []byte, e uart.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.Kind == uart.KindModem {
		g.modem = e.Modem
	}
	for _, w := range g.watchers {
		switch {
		case e.Kind != uart.KindData && w.seen.Items() < uart.DeviceEvents:
			w.seen.Add(e)
			if len(p) > 0 {
				w.seen.Add(breakNUL)
			}
		case e.Kind != uart.KindData:
			w.lost++
		default:
			room := min(len(p), watchLimit-w.seen.Len())
			w.seen.Push(p[:room])
			w.lost += uint64(len(p) - room)
		}
		w.changed.Broadcast()
	}
}

// set notes what is in force.
func (g *gallery) set(inForce uart.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inForce = inForce
}

func (g *gallery) state() (inForce uart.Event, modem uart.ModemState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inForce, g.modem
}

// watch is the life of a client that only looks. It outlives owners: between them it sees nothing.
func (s *Server) watch(ctx context.Context, v *visitor, client *rfc2217.Server) {
	at := v.conn.RemoteAddr().String()
	log := slog.New(s.few).With("client", at)
	log.Info("watcher connected: it sees what comes from the device, and cannot write or set anything")
	w := s.gallery.enter()
	ctx, over := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	var ways errgroup.Group
	ways.Go(func() error { // ends with the connection
		defer over()
		defer w.leave()
		return s.humour(log, client)
	})
	ways.Go(func() error { // ends when humour does
		awaitDeath(ctx, v.tcp)
		return client.Close()
	})
	ways.Go(func() error { // ends when humour does, or with the connection
		defer func() { _ = client.Close() }()
		return s.narrate(client, w)
	})
	_ = ways.Wait() // a watcher that goes away may do so in any manner
	lost := w.leave()
	if lost > 0 {
		log = slog.New(s.lost).With("client", at)
	}
	log.Info("watcher left", "lost", lost)
}

// awaitDeath waits until a client is gone without a word, or until ctx ends: else it would keep its place for a quarter of an
// hour where the device talks.
func awaitDeath(ctx context.Context, client *tcp.Socket) {
	look := time.NewTicker(lookAtClient)
	defer look.Stop()
	for client.Facts().Waiting < clientDead {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// humour answers a watcher with what is in force and drops what it sends.
func (s *Server) humour(log *slog.Logger, client *rfc2217.Server) error {
	told := false
	for {
		_, e, err := client.Next()
		if err != nil {
			return err
		}
		inForce, _ := s.gallery.state()
		switch e.Kind {
		case uart.KindData:
			if !told {
				told = true
				log.Warn("watcher writes: its bytes are dropped")
			}
		default:
			if err := client.Answer(inForce); err != nil {
				return err
			}
		}
	}
}

// narrate tells a watcher what comes from the device.
func (s *Server) narrate(client *rfc2217.Server, w *watcher) error {
	lines := modemTeller{tell: client.Modem, now: func() uart.ModemState {
		_, modem := s.gallery.state()
		return modem
	}}
	client.WhilePaused(lines.look)
	err := lines.begin()
	buf := make([]byte, pieceMost)
	for err == nil {
		n, e, ok := w.next(buf)
		switch {
		case !ok:
			return nil
		case e.Kind == uart.KindModem:
			err = lines.event(e.Modem)
		case isBreakNUL(e):
			_, err = client.BreakNUL()
		case e.Kind == uart.KindLine:
			err = client.Line(e.Line)
		default:
			_, err = client.Write(buf[:n])
		}
	}
	return err
}
