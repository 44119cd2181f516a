package bridge

import (
	"errors"
	"time"

	"telnetcpc/bridge/uart"
)

// How a change of settings, or a purge, reaches the far UART in order with the bytes.

// settings sends what the event changes to the session, or holds the change in order with the held bytes.
func (r *run) settings(e uart.Event) {
	for {
		now, held := r.holdChange(e)
		if held {
			r.logChange(e, now, false)
			return
		}
		if s := r.link.direct(); s != nil && r.change(s, e, true) {
			return
		}
	}
}

// holdChange holds a change of settings or a purge if up has no session to send it to; it waits while a session is up and
// there is no room. It returns the settings after the change, and whether the change is held.
func (r *run) holdChange(e uart.Event) (now settings, held bool) {
	l := &r.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if s := l.direct(); s != nil {
			l.requested = l.requested.merge(e)
			return now, false
		}
		if l.current.Load() == nil || l.held.events < heldEvents || l.closed || r.dropping() {
			break
		}
		l.changed.Wait()
	}
	l.requested = l.requested.merge(e)
	now = l.withPinned(l.requested)
	r.status.update(func(s *Snapshot) { s.Wanted = now.event() })
	switch {
	case l.current.Load() != nil:
		l.held.add(e)
	case e.Kind == uart.KindSettings: // without a session a purge has dropped what was held, and a break is dropped
		if e.Control.Break != 0 {
			r.countBreaksDropped(1)
		}
		r.countLost(l.held.fold(e))
	}
	return now, true
}

// errEnding is the error of a change for a session that has failed and is about to end: the bytes that it has not sent
// yet must not go out with other settings.
var errEnding = errors.New("the session is ending")

// change sends what the event changes. If the host cannot make the application wait for its bytes, a change of line
// coding waits here until they are out: a smart meter's ACK at 300 baud must not go out at 9600. A fall of DTR or RTS
// waits too: an application that drains its port and then lowers RTS would cut off an RS-485 frame. On every host, the
// fall that the last close causes waits: what was written goes out first. Only the sender (see link) may call it. It
// returns false if up calls it and is no longer the sender, or if resend calls it and the shutdown has come.
func (r *run) change(s *session, e uart.Event, fromUp bool) bool {
	l := &r.link
	falls := e.Control.DTR == uart.LevelOff || e.Control.RTS == uart.LevelOff
	waits := falls || l.after(e).Coding != s.sent.Coding
	if r.port.Fidelity().Carries(uart.CarriesDrain) { // the application has waited, unless it has only closed the port
		waits = falls && (r.announced.closes.Load() > r.fromUp.closesSeen.Load() || l.holdsClosed())
	}
	r.fromUp.awaitingFall.Store(falls)
	empty := !waits || r.awaitEmpty(s)
	r.fromUp.awaitingFall.Store(false)
	if !empty {
		return fromUp // the shutdown has come, and the change would corrupt bytes that wait
	}
	next, ok := l.merge(s, e, fromUp)
	if !ok {
		return false
	}
	diff := next.minus(s.sent)
	diff.Coding = diff.Coding.Over(s.resendChanged(e, next.Coding))
	diff.Control.Break = e.Control.Break
	s.sent = next
	r.status.update(func(b *Snapshot) { b.Wanted = next.event() })
	if diff != (settings{}) {
		err := errEnding
		if !s.failed() {
			err = s.Apply(diff.event())
		}
		if err != nil {
			r.sendFailed(s, err)
			if e.Control.Break != 0 {
				r.countBreaksDropped(1)
			}
			return true
		}
	}
	s.unsent.recode(next.Coding)
	r.logChange(e, next, diff != (settings{}))
	return true
}

// logChange logs a change of settings, and whether it was sent.
func (r *run) logChange(e uart.Event, now settings, sent bool) {
	l := &r.link
	l.mu.Lock()
	before := l.logged
	l.logged = now
	l.mu.Unlock()
	switch {
	case !sent && now == before: // the application has repeated the current settings
	case e.Coding != (uart.Coding{}) || e.Flow != (uart.Flow{}):
		r.log.Info("settings", "coding", now.Coding.String(), "flow", now.Flow.String(), "sent", sent)
	case e.Control != (uart.Control{}):
		r.log.Debug("control lines", "lines", e.Control.String(), "sent", sent)
	}
}

// changeWaitsLong is how long a change may wait for the bytes before it before that is logged.
const changeWaitsLong = time.Second

// awaitEmpty waits until the far UART should be empty, until stuckAfter without progress, until the session is lost, or
// until a purge has dropped the bytes. It returns false if the shutdown came first.
func (r *run) awaitEmpty(s *session) bool {
	began := time.Now()
	var w emptyWatch
	defer func() {
		if w.logged {
			r.status.update(func(b *Snapshot) { b.ChangeWaits = time.Time{} })
		}
	}()
	for {
		changed := r.link.notifier.wait() // first, so that a change during the computation closes it
		p := s.pending()
		switch {
		case r.announced.dropAll.Load() || r.isClosed():
			return false
		case s.failed() || r.dropping():
			return true
		case p.left == 0 && !p.awaitingMark:
			if !p.sure {
				r.log.Warn("a change of settings was sent without confirmation that the access server has taken the bytes before it")
			}
			return true
		case !r.checkEmptyWait(s, &w, began, p.left):
			return true
		}
		recheck := time.NewTimer(min(p.recheck, changeWaitsLong))
		select {
		case <-recheck.C:
		case <-changed: // a mark was answered, or the session is lost
		case <-r.closed:
		}
		recheck.Stop()
	}
}

// emptyWatch observes the bytes that awaitEmpty waits for.
type emptyWatch struct {
	progress watch
	checked  time.Time // when progress was checked last
	logged   bool      // the wait was logged
}

// checkEmptyWait logs a change that has waited long, and reports whether it should keep waiting. It checks once per
// changeWaitsLong.
func (r *run) checkEmptyWait(s *session, w *emptyWatch, began time.Time, left time.Duration) bool {
	now := time.Now()
	if now.Sub(w.checked) < changeWaitsLong {
		return true
	}
	w.checked = now
	if now.Sub(w.progress.stuckSince(s, now)) >= stuckAfter {
		r.log.Warn("a change of settings was sent although the bytes before it are stuck", "waited", now.Sub(began).Round(time.Second))
		return false
	}
	if !w.logged && now.Sub(began) >= changeWaitsLong {
		w.logged = true
		r.status.update(func(b *Snapshot) { b.ChangeWaits = began })
		r.log.Info("a change of settings waits for the bytes before it", "for", now.Sub(began).Round(time.Second), "left", left.Round(time.Millisecond))
	}
	return true
}

// purge forwards a purge. A transmit purge also drops what is held; without a session it does nothing else.
func (r *run) purge(e uart.Event) {
	r.log.Debug("purge", "buffers", e.Purge.String())
	if e.Purge&uart.PurgeTx != 0 {
		r.link.mu.Lock()
		r.countDropped(r.link.held.purge())
		r.link.broadcast()
		r.link.mu.Unlock()
		r.fromUp.purgesSeen.Add(1 + uint64(e.Purges))
	}
	for {
		if _, held := r.holdChange(e); held {
			return
		}
		if s := r.link.direct(); s != nil {
			r.forward(s, e)
			return
		}
	}
}
