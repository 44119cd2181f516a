package bridge

import (
	"errors"
	"time"

	"telnetcpc/bridge/uart"
)

// The end of a port, when the context has ended, in the order in which its parts must end: nobody new may open it; up is
// given the time to carry what was written; what then is not carried is counted; the port is closed; the far UART is given
// its time; the session is left as ever.

const (
	// endMost bounds all of it: with what a slow log takes the process ends within 20 s. carryMost is how much of it up
	// may take.
	endMost, carryMost = 15 * time.Second, 11 * time.Second
	// endQuiet is how long up must have been blocked in Next for nothing to be left in the port. countMost bounds how long what
	// an application writes on and on is counted.
	endQuiet, countMost = 200 * time.Millisecond, time.Second
	// endLook is how often up is looked at. endSoon is when a shorter time will do, endLate when none is waited for: see
	// carried and endless.
	endLook, endSoon, endLate = 50 * time.Millisecond, time.Second, 5 * time.Second
)

// ending is how far the end has come. Only Run's.
type ending struct {
	since time.Time // zero: there is no end in sight
	stage stage
	stood uint64    // up's place when it was looked at last
	given uint64    // bytes that sessions have taken by then
	moves bool      // they have taken some since the look before
	quiet time.Time // since when it stands there
	over  bool      // the port is closed: nobody wants a session any more
	until time.Time // of the stage

	result error // what loop returns then
}

type stage uint8

const (
	stageNone  stage = iota
	stageCarry       // up carries what was written
	stageCount       // up drops what could not be carried
	stageOut         // the port is closed; the last bytes go out
)

// beginEnd takes the port's path away, and begins the end.
func (r *run) beginEnd(now time.Time) {
	if r.ending.stage != stageNone {
		return // it hangs up
	}
	if err := r.port.Retire(); err != nil && !errors.Is(err, uart.ErrNotCarried) {
		r.log.Warn("the port's path could not be removed", "path", r.cfg.Path, "err", err)
	}
	r.ending = ending{
		since: now, stage: stageCarry, quiet: now, until: now.Add(carryMost), result: errDone,
	}
}

// beginHangup begins the end of a port that goes as an unplugged adapter does: nothing is carried any more.
func (r *run) beginHangup(now time.Time) {
	if r.ending.stage == stageNone {
		r.ending = ending{since: now, result: errHangup}
		r.dropRest(now)
	}
}

// endClock moves the end on, and reports whether the port is closed: what is left is the session's end.
func (r *run) endClock(again *alarm, now time.Time) (over bool) {
	e := &r.ending
	if e.stage == stageNone {
		return false
	}
	if at := r.place.Load(); at != e.stood || at%2 == 0 {
		e.stood, e.quiet = at, now
	}
	given := r.count.up.Load()
	e.given, e.moves = given, given != e.given
	if e.stage == stageCarry {
		switch held := r.link.holds() > 0; {
		case r.carried(now) && !held:
			e.stage, e.until = stageCount, now
		case !r.carries(held) && (held || r.carried(now) || now.Sub(e.since) >= endSoon), r.endless(now), !now.Before(e.until):
			r.dropRest(now)
		}
	}
	if e.stage == stageCount && (!now.Before(e.quiet.Add(endQuiet)) || !now.Before(e.until)) {
		e.stage, e.over, e.until = stageOut, true, e.since.Add(endMost)
		r.closePort()
	}
	if e.stage != stageOut {
		again.at(minTime(e.until, now.Add(endLook)))
		return false
	}
	r.stopDial()
	if s := r.session; s != nil && !now.Before(e.until) {
		r.end(errEnd, true, phaseIdle, now)
	}
	again.at(e.until)
	return true
}

// carried reports whether up has carried what was in the port when the end began: it has been blocked in Next for
// long, or, after a while and where the application goes on and on, for a little.
func (r *run) carried(now time.Time) bool {
	stood := now.Sub(r.ending.quiet)
	return stood >= endQuiet || stood >= endLook && now.Sub(r.ending.since) >= endSoon
}

// endless reports whether the application writes on and on, and the session takes what it gets: what was in the port at
// first has been carried long ago.
func (r *run) endless(now time.Time) bool {
	s := r.session
	return r.ending.moves && now.Sub(r.ending.since) >= endLate && s != nil && s.writing.Load() == 0
}

// carries reports whether what up has, or gets, has somewhere to go.
func (r *run) carries(held bool) bool {
	dials := r.phase == phaseConnecting && r.hangUp != nil
	return r.phase.stands() || held && (dials || r.phase != phaseAsleep && r.link.awaitsDial())
}

// dropRest has up drop, counted, what it still gets. A session whose Write blocks it is left: what was given to TCP goes out.
func (r *run) dropRest(now time.Time) {
	r.ending.stage, r.ending.until, r.ending.quiet = stageCount, now.Add(countMost), now
	r.dropAll.Store(true)
	if s := r.session; s != nil {
		if r.phase.stands() && s.writing.Load() > 0 {
			s.opens = r.link.opens()
			r.enter(phaseLeft, now)
		}
		s.look() // up may wait for the bytes before a change
	}
	r.link.wake()
}

// closePort closes the port: up returns, and a blocked down. Idempotent.
func (r *run) closePort() {
	if r.isDone() {
		return
	}
	r.opened.Store(false)
	close(r.done)
	r.outage(r.link.end())
	if err := r.port.Close(); err != nil {
		r.log.Warn("closing the port", "err", err)
	}
	r.board.set(func(s *Snapshot) { s.Opened = false })
}

// collect takes what is left behind loop: the session, a dial's result, sessions that down did not get to the end of.
func (r *run) collect() {
	if r.session != nil {
		r.end(errEnd, true, phaseIdle, time.Now())
	}
	if r.hangUp != nil {
		r.hangUp()
		if result := <-r.dialed; result.session != nil {
			_ = result.session.Close()
		}
	}
	r.unread.Store(true)
	unread := 0
	select {
	case s := <-r.next:
		unread += r.closeUnread(s)
	default:
	}
	if s := r.reading.Load(); s != nil {
		unread += r.closeUnread(s)
	}
	r.ways.Wait()
	r.answerOpens(uart.ErrClosed)
	r.board.set(func(s *Snapshot) { s.Opened = false }) // up may have come to an open behind closePort
	if n := r.untold.Swap(0); n > 0 {
		r.log.Warn("the port ends with bytes that no session has got", "dropped", n)
	}
	if unread > 0 {
		r.log.Warn("the port ends with bytes of the device that the application had not read", "unread", unread)
	}
}
