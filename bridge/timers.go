package bridge

import (
	"fmt"
	"io"
	"time"
)

// Run's timers. Each is checked in every step, does what is due, and reports when it is due next. All of them run in Run's
// goroutine.

const (
	// stuckAfter is how long the last bytes of a closed port, and the bytes before a change of settings, may make no
	// progress before they are given up.
	stuckAfter = 30 * time.Second
	// progressEvery is how often that progress is checked.
	progressEvery = 5 * time.Second
	// peerEvery is how often Run checks the socket while bytes are in flight or unread, and peerIdleEvery while none are.
	peerEvery, peerIdleEvery = 2 * time.Second, 5 * time.Second
	// peerDead is how long data may be in flight without an acknowledgement. With peerIdleEvery, a dead peer is noticed
	// within 15 s.
	peerDead = 10 * time.Second
	// silentMost is how long, at most, a peer has been dead when TCP's keepalive reports it.
	silentMost = 15 * time.Second
	// suspendedLong is how long an access server may suspend data before that is logged.
	suspendedLong = 5 * time.Second
	// finMost is how long Run waits for the peer's FIN after ours if the peer is known to have read all bytes; finUnsure, if
	// that is not known. Closing while the peer still reads causes a reset, which discards what it has not read.
	finMost, finUnsure = 2 * time.Second, 10 * time.Second
)

// closeWatch observes the bytes of applications that have closed the port.
type closeWatch struct {
	close    uint64    // the last close that it covers
	since    time.Time // of the first one
	progress watch
}

// heldTimer drops the bytes of closed ports that have waited for a session long enough.
func (r *run) heldTimer(next *alarm, now time.Time) {
	closed, old, due := r.link.expire(now)
	r.countLost(old)
	if closed > 0 {
		r.countDropped(closed)
		r.log.Warn("bytes of a closed port were dropped: no session in time", "dropped", closed)
	}
	next.at(due)
}

// closeTimer watches the bytes before a close, in the port and held. While they make progress there is no limit; after
// stuckAfter without progress they are dropped. Without a session, bytes that up has not reached wait for HoldFor, as
// held bytes do (heldTimer).
func (r *run) closeTimer(next *alarm, now time.Time) {
	w := &r.closeWatch
	// Until up has reached an open, it is unknown what the bytes of that open wait for.
	announced := min(r.announced.closes.Load(), r.fromUp.visits.Load())
	unseen := announced > max(r.fromUp.closesSeen.Load(), r.announced.abandoned.Load())
	if !unseen && !r.link.holdsClosed() {
		*w = closeWatch{}
		return
	}
	if w.close = announced; w.since.IsZero() {
		w.since = now
	}
	s := r.link.current.Load()
	var until time.Time
	switch {
	case s != nil:
		until = w.progress.stuckSince(s, now).Add(stuckAfter)
	case !unseen || r.link.held.holdFor == Forever || r.link.awaitsDial(): // heldTimer's
		w.progress = watch{}
		return
	default:
		w.progress = watch{}
		until = w.since.Add(r.link.held.holdFor)
	}
	if now.Before(until) {
		next.at(minTime(until, now.Add(progressEvery)))
		return
	}
	r.log.Warn("the last bytes of a closed port are stuck and were dropped")
	r.announced.abandoned.Store(announced)
	r.countLost(r.link.dropClosed())
	if s != nil {
		r.end(errStuck, true, phaseIdle, now) // up or resend may be blocked in its Write
	}
	r.link.notify()
}

// peerTimer checks the socket. A peer that acknowledges nothing is dead. If the peer has ended the connection and down
// cannot read that, because it is blocked in Port.Write, the session ends here. When no bytes are in flight, TCP's
// keepalive detects a dead peer.
func (r *run) peerTimer(next *alarm, now time.Time) {
	s := r.session
	if now.Before(s.nextCheck) {
		next.at(s.nextCheck)
		return
	}
	written := r.count.up.Load()
	p := s.Alive()
	every := peerIdleEvery
	if p.Waiting > 0 || p.Unread > 0 || written != s.writtenAtCheck || s.writing.Load() > 0 {
		every = peerEvery
	}
	s.writtenAtCheck, s.nextCheck = written, now.Add(every)
	next.at(s.nextCheck)
	switch {
	case p.Waiting >= peerDead:
		s.silentFor = p.Waiting
		s.fail(fmt.Errorf("%w: no acknowledgement for %v", errPeerDead, p.Waiting.Round(time.Second)))
		r.sessionLost(true, now)
	case p.Ended && s.finSeen:
		// Seen at two checks in a row: down has had time to read it, so it must be blocked in Port.Write.
		s.fail(io.EOF)
		r.sessionLost(false, now)
	}
	s.finSeen = p.Ended
}

// suspensionTimer logs, once, that an access server has suspended data for long while bytes wait.
func (r *run) suspensionTimer(next *alarm, now time.Time) {
	s := r.session
	since := s.suspendedSince()
	if since.IsZero() || s.suspensionLogged || !s.bytesWait.Load() {
		return
	}
	if until := since.Add(suspendedLong); now.Before(until) {
		next.at(until)
		return
	}
	s.suspensionLogged = true
	r.peerLog.Warn("the access server has suspended data and bytes are waiting (--quirk suspend-ignore sends them anyway)",
		"remote", r.cfg.Remote.String(), "for", now.Sub(since).Round(time.Second))
}

// markTimer gives up on a mark that has not been answered for markPatience: drain then relies on computation until a mark
// is answered.
func (r *run) markTimer(next *alarm, now time.Time) {
	s := r.session
	written, marked, _ := s.unsent.progress()
	if written == marked || s.marksGivenUp() {
		s.mark = watch{}
		return
	}
	if s.mark.since.IsZero() || s.mark.at.marked != marked {
		s.mark = watch{progress{marked: marked}, now}
	}
	if until := s.mark.since.Add(markPatience); now.Before(until) {
		next.at(until)
		return
	}
	s.giveUpMarks(marked)
	s.notify()
}

// leaveTimer ends a session that is not wanted: it waits for the linger time and for the last bytes to leave, sends FIN,
// and waits for the peer's FIN. A program that opens the port before our FIN gets the session as it is.
func (r *run) leaveTimer(next *alarm, now time.Time) {
	s := r.session
	if r.phase == phaseFINSent {
		r.awaitFIN(next, now)
		return
	}
	s.opensAtCheck = r.link.opens()
	r.restartLinger()
	if r.wanted() || r.keptByDTR() {
		s.unwantedSince = time.Time{}
		if r.phase == phaseClosing {
			r.enter(phaseUp, now)
		}
		return
	}
	if s.unwantedSince.IsZero() {
		s.unwantedSince = now
		s.requestMark()
	}
	if until := s.unwantedSince.Add(*r.policy.Linger); r.phase == phaseUp && !r.shutdown.portClosed && now.Before(until) {
		next.at(until)
		return
	}
	if r.phase == phaseUp {
		r.enter(phaseClosing, now)
	}
	written, _, _ := s.unsent.progress()
	p := s.pending()
	stuck := s.closing.stuckSince(s, now)
	switch {
	case p.left == 0 && !p.awaitingMark && p.sure:
		r.leaveEmpty(next, written, now)
	case now.Sub(stuck) >= stuckAfter:
		r.end(errStuck, true, phaseIdle, now)
	case p.left == 0: // the mark's answer wakes Run
		next.at(minTime(now.Add(progressEvery), stuck.Add(stuckAfter)))
	default:
		next.at(now.Add(min(p.recheck, progressEvery)))
	}
}

// leaveEmpty sends FIN, unless a program has just written more: nothing has waited for those bytes yet.
func (r *run) leaveEmpty(next *alarm, written uint64, now time.Time) {
	s := r.session
	s.leaving.Store(true) // write sets writing before it reads this, so one of the two sees the other
	// Checked before progress: progress counts a Write that returns in between.
	busy := r.link.holding() || s.writing.Load() > 0
	if n, _, _ := s.unsent.progress(); busy || n != written {
		s.leaving.Store(false)
		next.at(now.Add(ackMost))
		return
	}
	s.drained = true
	r.enter(phaseFINSent, now)
}

// restartLinger starts the linger time again if a program came and went while the session was up: the session has served
// it.
func (r *run) restartLinger() {
	if visits := r.fromUp.visits.Load(); visits != r.servedVisits {
		r.servedVisits = visits
		r.session.unwantedSince = time.Time{}
	}
}

// keptByDTR reports whether the session stays although the port is closed: the last program has left DTR on, and the end
// of the session would turn it off.
func (r *run) keptByDTR() bool {
	s := r.session
	if !r.hupcl || !r.fromUp.leftDTR.Load() || r.shutdown.portClosed {
		return false
	}
	if !s.keptLogged {
		s.keptLogged = true
		r.log.Info("keeping the session: the last program left DTR on, HUPCL is off (--linger limits this)")
	}
	return true
}

// awaitFIN waits for the end of a session after our FIN. Until then down reads on.
func (r *run) awaitFIN(next *alarm, now time.Time) {
	s := r.session
	most := finMost
	if s.unsent.sinceMark() > 0 && !r.wanted() {
		most = finUnsure
	}
	if until := s.closing.stuckSince(s, now).Add(most); now.Before(until) {
		next.at(until)
		return
	}
	r.end(errNoFIN, true, phaseIdle, now)
}
