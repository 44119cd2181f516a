package bridge

import (
	"errors"
	"time"

	"telnetcpc/bridge/uart"
)

// The path of a byte to the device, all of it in one goroutine:
//
//	application's write -> kernel -> Port.Next -> up -> send -> write -> Session.Write -> conn.Write
//
// A change of settings takes the same path (up -> settings -> change -> Session.Apply), so the order on the wire is the
// order of this loop. Back pressure is a Session.Write that blocks: Next is not called then, and the application's write
// waits in the kernel. Without a session, up keeps reading into link.held, and waits when that is full. When a session is
// up, resend sends what is held; up appends to it until nothing is left, and then writes to the session directly again.

// up is started by serve. It ends when the port is closed or lost.
func (r *run) up() {
	for {
		r.fromUp.nextCalls.Add(1)
		p, e, err := r.port.Next()
		r.fromUp.nextCalls.Add(1)
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

// portLost reports to Run that a call on the port failed, unless Run has closed the port.
func (r *run) portLost(err error) {
	if errors.Is(err, uart.ErrClosed) && r.isClosed() {
		return
	}
	select {
	case r.failed <- err:
	default:
	}
}

// send writes p to the session, holds it for the next one, or drops it.
func (r *run) send(p []byte) {
	for len(p) > 0 {
		s := r.link.direct()
		if s == nil || s.suspendedAt.Load() != 0 || r.dropping() {
			p = r.hold(p)
			continue
		}
		p = p[r.write(s, p, r.fromUp.closesSeen.Load()):]
	}
}

// pieceMost limits, in bytes, what is passed to a session in one call: the bytes inside a call that does not return count
// as lost.
const pieceMost = 16 << 10

// write writes a piece of p, which belongs to this visit, to the session, and returns how much the session took. Only the
// sender (see link) may call it.
func (r *run) write(s *session, p []byte, visit uint64) int {
	p = p[:min(len(p), pieceMost)]
	s.writingVisit.Store(visit)
	s.writing.Store(uint64(len(p)))
	// Run sets one of these before it reads writing: it has detached the session and estimates its loss, it is about to send
	// FIN, or it shuts down and will cut short a Write that blocks.
	if r.link.current.Load() != s || s.leaving.Load() || r.announced.dropAll.Load() {
		s.writing.Store(0)
		return 0
	}
	began := time.Now()
	n, err := s.Write(p)
	s.wrote(n, began, visit)
	s.writing.Store(0)
	r.count.up.Add(uint64(n))
	r.observers.data(Up, p[:n])
	if err != nil {
		r.sendFailed(s, err)
	}
	return n
}

// sendFailed reports to Run that the session is lost, unless Run has detached it already.
func (r *run) sendFailed(s *session, err error) {
	if r.link.current.Load() == s {
		s.fail(err)
	}
	r.wakeRun()
}

// hold holds or drops p while up has no session to write it to, and waits while there is no room. It returns the bytes
// that up can send directly after all.
func (r *run) hold(p []byte) []byte {
	l, at := &r.link, time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(p) > 0 {
		if l.closed || r.dropping() {
			r.dropHeld(len(p))
			return nil
		}
		if s := l.direct(); s != nil {
			if s.suspendedAt.Load() == 0 {
				return p
			}
			r.awaitResume(s) // the session is up: the bytes in hand wait, and up reads no more
			continue
		}
		if l.current.Load() == nil {
			if l.held.holdFor == 0 && !l.fresh {
				r.countLost(l.held.drop(len(l.held.items)) + len(p))
				return nil
			}
			r.countLost(l.held.drop(l.held.tooOld(at, l.freshFrom())))
		}
		n := l.held.push(p, at, r.fromUp.closesSeen.Load())
		p = p[n:]
		if n > 0 {
			r.wakeRun() // a session is wanted
		}
		if len(p) > 0 {
			l.changed.Wait()
		}
	}
	return nil
}

// dropHeld drops what is held and counts it, with inHand bytes that up drops, because dropping is true. Bytes that a
// purge drops are no loss. The caller holds the link's mu.
func (r *run) dropHeld(inHand int) {
	if r.announced.purges.Load() > r.fromUp.purgesSeen.Load() {
		r.countDropped(r.link.held.purge() + inHand)
	} else {
		r.countLost(r.link.held.dropBytes() + inHand)
	}
}

// awaitResume waits for a change while the access server has suspended data. The caller holds the link's mu.
func (r *run) awaitResume(s *session) {
	if !s.bytesWait.Swap(true) {
		r.wakeRun() // for suspensionTimer
	}
	r.link.changed.Wait()
}

// event handles an event of the application.
func (r *run) event(e uart.Event) {
	r.observers.event(Up, e)
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
	r.fromUp.visits.Add(uint64(e.Visits)) // before the closes: closeTimer counts no close before its open
	r.fromUp.closesSeen.Add(uint64(e.Visits))
}

func (r *run) portOpened(e uart.Event) {
	if e.Ready != nil {
		r.opens.mu.Lock()
		r.opens.ready = append(r.opens.ready, e.Ready)
		r.opens.mu.Unlock()
		if r.link.current.Load() != nil {
			r.releaseOpens(nil)
		}
	}
	// In this order: Run reads visits and then opened, so it misses no open; and it checks for a close only after the link
	// knows its open.
	r.fromUp.opened.Store(true)
	r.fromUp.leftDTR.Store(false)
	r.link.opened(time.Now())
	r.fromUp.visits.Add(1)
	r.status.update(func(s *Snapshot) { s.Opened = true })
	r.log.Info("port opened")
	r.wakeRun()
}

func (r *run) portClosed() {
	l := &r.link
	l.mu.Lock()
	l.held.closed(time.Now())
	dtr := l.requested.Control.DTR
	l.mu.Unlock()
	r.fromUp.leftDTR.Store(dtr == uart.LevelOn && r.port.Fidelity().Carries(uart.CarriesDTR))
	r.fromUp.opened.Store(false)
	r.fromUp.closesSeen.Add(1)
	r.status.update(func(s *Snapshot) { s.Opened = false })
	r.logStale()
	args := []any{"up", r.count.up.Load(), "down", r.count.down.Load()}
	if n := r.fromUp.unlogged.Swap(0); n > 0 {
		r.log.Warn("port closed", append(args, "dropped", n)...)
	} else {
		r.log.Info("port closed", args...)
	}
	r.wakeRun()
}
