package bridge

import (
	"errors"
	"time"

	"telnetcpc/bridge/uart"
)

// How a change of settings, or a purge, comes to the far UART at its place among the bytes.

// settings has the session told what the event changes, or the change held at its place.
func (r *run) settings(e uart.Event) {
	for {
		now, held := r.holdChange(e)
		if held {
			r.sayChange(e, now, false)
			return
		}
		if s := r.link.giver(); s != nil && r.change(s, e, true) {
			return
		}
	}
}

// holdChange takes a change of settings or a purge out of up's hands where up has nobody to tell it, and waits while a
// session stands and there is no room. It returns the settings then to be in force, and whether the change is held.
func (r *run) holdChange(e uart.Event) (now settings, held bool) {
	l := &r.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if s := l.giver(); s != nil {
			l.wanted = l.wanted.merge(e)
			return now, false
		}
		if l.cur.Load() == nil || l.held.events < heldEvents || l.over || r.dropping() {
			break
		}
		l.changed.Wait()
	}
	l.wanted = l.wanted.merge(e)
	now = l.inForce(l.wanted)
	r.board.set(func(s *Snapshot) { s.Wanted = now.event() })
	switch {
	case l.cur.Load() != nil:
		l.held.add(e)
	case e.Kind == uart.KindSettings: // without a link a purge has dropped what was held, and a break is nobody's
		if e.Control.Break != 0 {
			r.breaksDropped(1)
		}
		r.outage(l.held.fold(e))
	}
	return now, true
}

// errEnds says that a session has failed, and is about to end: what it has not sent yet must not go out changed.
var errEnds = errors.New("the session ends")

// change tells the session what the event changes. Where the host cannot make the application wait for its bytes, a
// change of line coding waits here for them: a smart meter's ACK at 300 baud must not go out at 9600. So does a fall of
// DTR or RTS: an application that has drained its port lets RTS fall behind the last byte, and would cut off an RS-485
// frame. So does, on every host, the fall that comes of the last close: what was written goes out first. Only the one who
// sends calls it. It reports false where up is not that one any more; and to resend, where the end has come.
func (r *run) change(s *session, e uart.Event, up bool) bool {
	l := &r.link
	falls := e.Control.DTR == uart.LevelOff || e.Control.RTS == uart.LevelOff
	waits := falls || l.after(e).Coding != s.told.Coding
	if r.port.Fidelity().Carries(uart.CarriesDrain) { // the application has waited, unless it has only closed the port
		waits = falls && (r.closesCalled.Load() > r.closesSeen.Load() || l.holdsClosed())
	}
	r.falling.Store(falls)
	empty := !waits || r.awaitEmpty(s)
	r.falling.Store(false)
	if !empty {
		return up // the end has come, and bytes wait that the change would spoil
	}
	next, ok := l.merge(s, e, up)
	if !ok {
		return false
	}
	diff := next.minus(s.told)
	diff.Coding = diff.Coding.Over(s.again(e, next.Coding))
	diff.Control.Break = e.Control.Break
	s.told = next
	r.board.set(func(b *Snapshot) { b.Wanted = next.event() })
	if diff != (settings{}) {
		err := errEnds
		if !s.failed() {
			err = s.Apply(diff.event())
		}
		if err != nil {
			r.sendFailed(s, err)
			if e.Control.Break != 0 {
				r.breaksDropped(1)
			}
			return true
		}
	}
	s.unsent.recode(next.Coding)
	r.sayChange(e, next, diff != (settings{}))
	return true
}

// sayChange logs a change of settings, and whether the session was told.
func (r *run) sayChange(e uart.Event, now settings, sent bool) {
	l := &r.link
	l.mu.Lock()
	before := l.said
	l.said = now
	l.mu.Unlock()
	switch {
	case !sent && now == before: // it was asked for once more
	case e.Coding != (uart.Coding{}) || e.Flow != (uart.Flow{}):
		r.log.Info("settings", "coding", now.Coding.String(), "flow", now.Flow.String(), "sent", sent)
	case e.Control != (uart.Control{}):
		r.log.Debug("control lines", "lines", e.Control.String(), "sent", sent)
	}
}

// waitLong is how long a change may wait for the bytes before it until that is said.
const waitLong = time.Second

// awaitEmpty waits until the far UART should be empty: as long as bytes leave, patience without progress, until the
// session is lost, or a purge has dropped the bytes. It reports false where the end has come before.
func (r *run) awaitEmpty(s *session) bool {
	began := time.Now()
	var w emptyWatch
	defer func() {
		if w.said {
			r.board.set(func(b *Snapshot) { b.ChangeWaits = time.Time{} })
		}
	}()
	for {
		changed := r.link.notice.wait() // first: what changes after it is heard
		n := s.needs()
		switch {
		case r.dropAll.Load() || r.isDone():
			return false
		case s.failed() || r.dropping():
			return true
		case n.left == 0 && !n.marking:
			if !n.sure {
				r.log.Warn("a change of settings goes out behind bytes of which the access server does not say that it has taken them")
			}
			return true
		case !r.lookAtEmpty(s, &w, began, n.left):
			return true
		}
		again := time.NewTimer(min(n.again, waitLong))
		select {
		case <-again.C:
		case <-changed: // a mark was answered, or the session is lost
		case <-r.done:
		}
		again.Stop()
	}
}

// emptyWatch is what awaitEmpty watches its bytes by.
type emptyWatch struct {
	leaves watch
	looked time.Time // at their progress, once a second
	said   bool      // that a change waits
}

// lookAtEmpty says when a change waits long, and reports whether it is to wait on.
func (r *run) lookAtEmpty(s *session, w *emptyWatch, began time.Time, left time.Duration) bool {
	now := time.Now()
	if now.Sub(w.looked) < waitLong {
		return true
	}
	w.looked = now
	if now.Sub(w.leaves.stuck(s, now)) >= patience {
		r.log.Warn("a change of settings goes out before bytes that do not leave", "waited", now.Sub(began).Round(time.Second))
		return false
	}
	if !w.said && now.Sub(began) >= waitLong {
		w.said = true
		r.board.set(func(b *Snapshot) { b.ChangeWaits = began })
		r.log.Info("a change of settings waits for the bytes before it", "for", now.Sub(began).Round(time.Second), "left", left.Round(time.Millisecond))
	}
	return true
}

// purge forwards a purge. A transmit purge drops what is held; without a link that is all of it.
func (r *run) purge(e uart.Event) {
	r.log.Debug("purge", "buffers", e.Purge.String())
	if e.Purge&uart.PurgeTx != 0 {
		r.link.mu.Lock()
		r.dropped(r.link.held.purge())
		r.link.broadcast()
		r.link.mu.Unlock()
		r.purgesSeen.Add(1 + uint64(e.Purges))
	}
	for {
		if _, held := r.holdChange(e); held {
			return
		}
		if s := r.link.giver(); s != nil {
			r.forward(s, e)
			return
		}
	}
}
