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

const (
	// watcherBytes and watcherEvents bound what is queued for a watcher. What comes while its queue is full is lost for it.
	watcherBytes  = 256 << 10
	watcherEvents = 256
)

// watchers are the clients that watch: they get what comes from the device, and the current settings. Nothing that they
// do or fail to do makes another client wait. The zero value is empty.
type watchers struct {
	mu      sync.Mutex // guards everything below and everything in each watcher; never held over I/O
	inForce uart.Event
	modem   uart.ModemState
	all     []*watcher
}

// watcher is the queue of one client that watches.
type watcher struct {
	of      *watchers
	changed sync.Cond // queued or left changed
	queued  ordered.Stream[uart.Event]
	lost    uint64 // bytes and events that did not fit
	left    bool
}

// enter adds a watcher, which gets what comes from now on.
func (ws *watchers) enter() *watcher {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := &watcher{of: ws}
	w.changed.L = &ws.mu
	ws.all = append(ws.all, w)
	return w
}

// leave removes the watcher, makes next return false, and returns how many bytes and events were lost. It may be called
// again.
func (w *watcher) leave() (lost uint64) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.left = true
	w.of.all = slices.DeleteFunc(w.of.all, func(other *watcher) bool { return other == w })
	w.changed.Broadcast()
	return w.lost
}

// next waits for bytes, which it copies to dst, or one event. ok is false if the watcher has left.
func (w *watcher) next(dst []byte) (n int, e uart.Event, ok bool) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	for w.queued.Empty() && !w.left {
		w.changed.Wait()
	}
	if w.left {
		return 0, e, false
	}
	n, e = w.queued.Next(dst)
	return n, e, true
}

// breakNUL is queued for the NUL byte that was received with a break: an empty line state.
var breakNUL = uart.Event{Kind: uart.KindLine}

func isBreakNUL(e uart.Event) bool { return e.Kind == uart.KindLine && e.Line == 0 }

// show queues what came from the device: bytes, or one event; a break has its NUL in p.
func (ws *watchers) show(p []byte, e uart.Event) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if e.Kind == uart.KindModem {
		ws.modem = e.Modem
	}
	for _, w := range ws.all {
		switch {
		case e.Kind != uart.KindData && w.queued.Items() < watcherEvents:
			w.queued.Add(e)
			if len(p) > 0 {
				w.queued.Add(breakNUL)
			}
		case e.Kind != uart.KindData:
			w.lost++
		default:
			room := min(len(p), watcherBytes-w.queued.Len())
			w.queued.Push(p[:room])
			w.lost += uint64(len(p) - room)
		}
		w.changed.Broadcast()
	}
}

// set records the current settings.
func (ws *watchers) set(inForce uart.Event) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.inForce = inForce
}

func (ws *watchers) state() (inForce uart.Event, modem uart.ModemState) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.inForce, ws.modem
}

// watch serves a client that watches, until it leaves. It may outlive several owners; between two owners nothing comes.
func (s *Server) watch(ctx context.Context, v *visitor, client *rfc2217.Server) {
	at := v.conn.RemoteAddr().String()
	log := slog.New(s.few).With("client", at)
	log.Info("watcher connected: it receives what comes from the device, and cannot write or set anything")
	w := s.watchers.enter()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	var all errgroup.Group
	all.Go(func() error { // ends with the connection
		defer cancel()
		defer w.leave()
		return s.answerWatcher(log, client)
	})
	all.Go(func() error { // ends when answerWatcher does
		awaitDeath(ctx, v.tcp)
		return client.Close()
	})
	all.Go(func() error { // ends when answerWatcher does, or with the connection
		defer func() { _ = client.Close() }()
		return s.relay(client, w)
	})
	_ = all.Wait() // it does not matter how a watcher leaves
	lost := w.leave()
	if lost > 0 {
		log = slog.New(s.lost).With("client", at)
	}
	log.Info("watcher left", "lost", lost)
}

// awaitDeath waits until a client has vanished, or until ctx is done. Without it a vanished watcher would keep its place for a
// quarter of an hour while the device sends.
func awaitDeath(ctx context.Context, client *tcp.Socket) {
	check := time.NewTicker(checkClientEvery)
	defer check.Stop()
	for client.Facts().Waiting < clientDead {
		select {
		case <-check.C:
		case <-ctx.Done():
			return
		}
	}
}

// answerWatcher answers a watcher's commands with the current settings and drops its bytes.
func (s *Server) answerWatcher(log *slog.Logger, client *rfc2217.Server) error {
	warned := false
	for {
		_, e, err := client.Next()
		if err != nil {
			return err
		}
		inForce, _ := s.watchers.state()
		switch e.Kind {
		case uart.KindData:
			if !warned {
				warned = true
				log.Warn("watcher writes: its bytes are dropped")
			}
		default:
			if err := client.Answer(inForce); err != nil {
				return err
			}
		}
	}
}

// relay sends a watcher what comes from the device.
func (s *Server) relay(client *rfc2217.Server, w *watcher) error {
	lines := modemReporter{report: client.Modem, now: func() uart.ModemState {
		_, modem := s.watchers.state()
		return modem
	}}
	client.WhilePaused(lines.reportNow)
	err := lines.begin()
	buf := make([]byte, pieceLimit)
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
