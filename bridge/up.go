package bridge

import (
	"errors"
	"time"

	"telnetcpc/bridge/uart"
)

// The way of a byte to the device, all of it in one goroutine:
//
//	application's write -> kernel -> Port.Next -> up -> send -> give -> Session.Write -> conn.Write
//
// A change of settings walks the same road (up -> settings -> change -> Session.Apply), so the order on the wire is the
// order of this loop. Back pressure is a Session.Write that blocks: then Next is not called, and the application's write
// waits in the kernel. Without a session up reads on into link.held, and waits when that is full. When a session comes,
// resend walks the rest of the road with what is held, and up puts what follows behind it, until nothing is left.

// up is started by serve and ends when the port is closed or lost.
func (r *run) up() {
	for {
		r.place.Add(1)
		p, e, err := r.port.Next()
		r.place.Add(1)
		switch {
		case err != nil:
			r.portLost(err)
			return
		case e.Kind != uart.KindData:
			r.event(e)
		default:
			r.send(p)
		}
	}
}

// portLost tells Run that a call on the port failed, unless that is because Run closed it.
func (r *run) portLost(err error) {
	if errors.Is(err, uart.ErrClosed) && r.isDone() {
		return
	}
	select {
	case r.failed <- err:
	default:
	}
}

// send gives p to the session, or has it held for the next one, or drops it.
func (r *run) send(p []byte) {
	for len(p) > 0 {
		s := r.link.giver()
		if s == nil || s.suspended.Load() != 0 || r.dropping() {
			p = r.hold(p)
			continue
		}
		p = p[r.give(s, p, r.closesSeen.Load()):]
	}
}

// pieceMost bounds what is given to a session in one call: what is inside a call that does not return counts as lost.
const pieceMost = 16 << 10

// give writes a piece of p, which was written after so many closes, to the session and returns how much it took. Only the
// one who sends calls it.
func (r *run) give(s *session, p []byte, visit uint64) int {
	p = p[:min(len(p), pieceMost)]
	s.wrote.Store(visit)
	s.writing.Store(uint64(len(p)))
	// Run looks at writing behind each of these: it has left the session and reckons its loss, or is about to leave it, or
	// the end has come and a Write that blocks is cut.
	if r.link.cur.Load() != s || s.leaving.Load() || r.dropAll.Load() {
		s.writing.Store(0)
		return 0
	}
	began := time.Now()
	n, err := s.Write(p)
	s.gave(n, began, visit)
	s.writing.Store(0)
	r.count.up.Add(uint64(n))
	r.tap.data(Up, p[:n])
	if err != nil {
		r.sendFailed(s, err)
	}
	return n
}

// sendFailed tells Run that the session is lost, unless Run has left it.
func (r *run) sendFailed(s *session, err error) {
	if r.link.cur.Load() == s {
		s.fail(err)
	}
	r.kickRun()
}

// hold takes p out of up's hands as long as up has nobody to give it to: it is held or dropped, and up waits while there
// is no room. It returns what up is to send after all.
func (r *run) hold(p []byte) []byte {
	l, at := &r.link, time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(p) > 0 {
		if l.over || r.dropping() {
			r.dropHeld(len(p))
			return nil
		}
		if s := l.giver(); s != nil {
			if s.suspended.Load() == 0 {
				return p
			}
			r.awaitResume(s) // it stands: what is in hand waits, and nothing is read ahead
			continue
		}
		if l.cur.Load() == nil {
			if l.held.keep == 0 && !l.fresh {
				r.outage(l.held.drop(len(l.held.items)) + len(p))
				return nil
			}
			r.outage(l.held.drop(l.held.tooOld(at, l.freshFrom())))
		}
		n := l.held.push(p, at, r.closesSeen.Load())
		p = p[n:]
		if n > 0 {
			r.kickRun() // somebody wants a session
		}
		if len(p) > 0 {
			l.changed.Wait()
		}
	}
	return nil
}

// dropHeld drops what is held, and so many bytes in hand, as dropping says. Those of a purge are nobody's loss. The caller
// holds the link's mu.
func (r *run) dropHeld(inHand int) {
	if r.purgesCalled.Load() > r.purgesSeen.Load() {
		r.dropped(r.link.held.purge() + inHand)
	} else {
		r.outage(r.link.held.dropBytes() + inHand)
	}
}

// awaitResume waits until something changes while the access server takes no data. The caller holds the link's mu.
func (r *run) awaitResume(s *session) {
	if !s.waiting.Swap(true) {
		r.kickRun() // a suspension without end is said
	}
	r.link.changed.Wait()
}

// event does what an event of the application means.
func (r *run) event(e uart.Event) {
	r.tap.event(Up, e)
	switch e.Kind {
	case uart.KindOpened:
		r.portOpened(e)
	case uart.KindClosed:
		r.portClosed()
	case uart.KindSettings:
		r.settings(e)
	case uart.KindPurge:
		r.purge(e)
	}
	r.visits.Add(uint64(e.Visits)) // before the closes: closeClock counts none whose open has not come
	r.closesSeen.Add(uint64(e.Visits))
}

func (r *run) portOpened(e uart.Event) {
	if e.Ready != nil {
		r.readyMu.Lock()
		r.ready = append(r.ready, e.Ready)
		r.readyMu.Unlock()
		if r.link.cur.Load() != nil {
			r.answerOpens(nil)
		}
	}
	// In this order: Run, which looks at how often it was opened and then whether it is, misses no open; and a close is
	// looked at once the link knows its open.
	r.opened.Store(true)
	r.dtrUp.Store(false)
	r.link.opened(time.Now())
	r.visits.Add(1)
	r.board.set(func(s *Snapshot) { s.Opened = true })
	r.log.Info("port opened")
	r.kickRun()
}

func (r *run) portClosed() {
	l := &r.link
	l.mu.Lock()
	l.held.closed(time.Now())
	dtr := l.wanted.Control.DTR
	l.mu.Unlock()
	r.dtrUp.Store(dtr == uart.LevelOn && r.port.Fidelity().Carries(uart.CarriesDTR))
	r.opened.Store(false)
	r.closesSeen.Add(1)
	r.board.set(func(s *Snapshot) { s.Opened = false })
	r.sayEarly()
	args := []any{"up", r.count.up.Load(), "down", r.count.down.Load()}
	if n := r.untold.Swap(0); n > 0 {
		r.log.Warn("port closed", append(args, "dropped", n)...)
	} else {
		r.log.Info("port closed", args...)
	}
	r.kickRun()
}
