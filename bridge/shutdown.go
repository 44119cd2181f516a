package bridge

import (
	"errors"
	"time"

	"telnetcpc/bridge/uart"
)

// The shutdown of a port after the context has ended, step by step: the path is removed, so that no program can open the
// port any more; up gets time to carry what was written; the rest is dropped and counted; the port is closed; the far
// UART gets time to send; the session ends as usual.

const (
	// shutdownMost limits the whole shutdown, so that the process ends within 20 s even with a slow log; carryMost limits
	// the part in which up carries bytes.
	shutdownMost, carryMost = 15 * time.Second, 11 * time.Second
	// quietFor is how long up must have been blocked in Next before the port counts as empty. countMost limits how long the
	// bytes of an application that keeps writing are counted.
	quietFor, countMost = 200 * time.Millisecond, time.Second
	// upEvery is how often up is checked. After shortAfter, upEvery is enough in place of quietFor (see carried); after
	// endlessAfter, an application that keeps writing is not waited for (see endless).
	upEvery, shortAfter, endlessAfter = 50 * time.Millisecond, time.Second, 5 * time.Second
)

// shutdown is the state of the shutdown. Only Run's goroutine.
type shutdown struct {
	since      time.Time // zero: there is no shutdown
	stage      stage
	nextCalls  uint64    // fromUp.nextCalls at the last check
	quietSince time.Time // since when up has been blocked in that call
	written    uint64    // bytes that sessions had taken at the last check
	moving     bool      // sessions took some between the last two checks
	portClosed bool      // a session is not wanted any more
	until      time.Time // the end of the stage

	result error // what decide returns at the end
}

type stage uint8

const (
	stageNone  stage = iota
	stageCarry       // up carries what was written
	stageCount       // up drops what could not be carried
	stageOut         // the port is closed; the last bytes go out
)

// beginShutdown removes the port's path and begins the shutdown.
func (r *run) beginShutdown(now time.Time) {
	if r.shutdown.stage != stageNone {
		return // a hangup is in progress
	}
	if err := r.port.Retire(); err != nil && !errors.Is(err, uart.ErrNotCarried) {
		r.log.Warn("cannot remove the port's path", "path", r.cfg.Path, "err", err)
	}
	r.shutdown = shutdown{
		since: now, stage: stageCarry, quietSince: now, until: now.Add(carryMost), result: errDone,
	}
}

// beginHangup begins the end of a port that is to vanish like an unplugged adapter: nothing is carried any more.
func (r *run) beginHangup(now time.Time) {
	if r.shutdown.stage == stageNone {
		r.shutdown = shutdown{since: now, result: errHangup}
		r.dropRest(now)
	}
}

// shutdownTimer advances the shutdown, and reports whether the port is closed, so that only the session still has to end.
func (r *run) shutdownTimer(next *alarm, now time.Time) (closed bool) {
	e := &r.shutdown
	if e.stage == stageNone {
		return false
	}
	if calls := r.fromUp.nextCalls.Load(); calls != e.nextCalls || calls%2 == 0 {
		e.nextCalls, e.quietSince = calls, now
	}
	written := r.count.up.Load()
	e.written, e.moving = written, written != e.written
	if e.stage == stageCarry {
		switch held := r.link.holding(); {
		case r.carried(now) && !held:
			e.stage, e.until = stageCount, now
		case !r.canCarry(held) && (held || r.carried(now) || now.Sub(e.since) >= shortAfter), r.endless(now), !now.Before(e.until):
			r.dropRest(now)
		}
	}
	if e.stage == stageCount && (!now.Before(e.quietSince.Add(quietFor)) || !now.Before(e.until)) {
		e.stage, e.portClosed, e.until = stageOut, true, e.since.Add(shutdownMost)
		r.closePort()
	}
	if e.stage != stageOut {
		next.at(minTime(e.until, now.Add(upEvery)))
		return false
	}
	r.stopDial()
	if s := r.session; s != nil && !now.Before(e.until) {
		r.end(errExit, true, phaseIdle, now)
	}
	next.at(e.until)
	return true
}

// carried reports whether up has carried what was in the port when the shutdown began: it has been blocked in Next for
// quietFor, or, after shortAfter and if the application keeps writing, for upEvery.
func (r *run) carried(now time.Time) bool {
	quiet := now.Sub(r.shutdown.quietSince)
	return quiet >= quietFor || quiet >= upEvery && now.Sub(r.shutdown.since) >= shortAfter
}

// endless reports whether the application keeps writing and the session takes the bytes: what was in the port when the
// shutdown began was carried long ago.
func (r *run) endless(now time.Time) bool {
	s := r.session
	return r.shutdown.moving && now.Sub(r.shutdown.since) >= endlessAfter && s != nil && s.writing.Load() == 0
}

// canCarry reports whether there is, or will be, a session for the bytes that up has or still reads.
func (r *run) canCarry(held bool) bool {
	dials := r.phase == phaseConnecting && r.cancelDial != nil
	return r.phase.isUp() || held && (dials || r.phase != phaseAsleep && r.link.awaitsDial())
}

// dropRest makes up drop and count what it still reads. A session whose Write blocks gets our FIN: what TCP has taken
// still goes out.
func (r *run) dropRest(now time.Time) {
	r.shutdown.stage, r.shutdown.until, r.shutdown.quietSince = stageCount, now.Add(countMost), now
	r.announced.dropAll.Store(true)
	if s := r.session; s != nil {
		if r.phase.isUp() && s.writing.Load() > 0 {
			s.opensAtCheck = r.link.opens()
			r.enter(phaseFINSent, now)
		}
		s.notify() // up may be waiting for the bytes before a change
	}
	r.link.notify()
}

// closePort closes the port, which ends up and a blocked Port.Write of down. Idempotent.
func (r *run) closePort() {
	if r.isClosed() {
		return
	}
	r.fromUp.opened.Store(false)
	close(r.closed)
	r.countLost(r.link.close())
	if err := r.port.Close(); err != nil {
		r.log.Warn("cannot close the port cleanly", "err", err)
	}
	r.status.update(func(s *Snapshot) { s.Opened = false })
}

// collect ends what decide has left: the session, the result of a dial, sessions that down has not read to the
// end.
func (r *run) collect() {
	if r.session != nil {
		r.end(errExit, true, phaseIdle, time.Now())
	}
	if r.cancelDial != nil {
		r.cancelDial()
		if result := <-r.dialed; result.session != nil {
			_ = result.session.Close()
		}
	}
	r.stopReading.Store(true)
	unread := 0
	select {
	case s := <-r.nextSession:
		unread += r.closeUnread(s)
	default:
	}
	if s := r.reading.Load(); s != nil {
		unread += r.closeUnread(s)
	}
	r.carriers.Wait()
	r.releaseOpens(uart.ErrClosed)
	r.status.update(func(s *Snapshot) { s.Opened = false }) // up may have seen an open after closePort
	if n := r.fromUp.unlogged.Swap(0); n > 0 {
		r.log.Warn("port closed with bytes that no session took", "dropped", n)
	}
	if unread > 0 {
		r.log.Warn("port closed with device bytes that the application had not read", "unread", unread)
	}
}
