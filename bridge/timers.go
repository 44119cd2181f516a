package bridge

import (
	"fmt"
	"io"
	"time"
)

// The clocks that Run looks at in each step: each says when it is due next.

const (
	// patience is how long the last bytes of an application that is gone, and those before a change of settings, may
	// stand still before nobody waits for them any more.
	patience = 30 * time.Second
	// progressLook is how often their progress is looked at.
	progressLook = 5 * time.Second
	// peerLook is how often Run looks at the socket while bytes are on their way, or unread, peerGlance while none are.
	peerLook, peerGlance = 2 * time.Second, 5 * time.Second
	// peerDead is how long data may be in flight without an acknowledgement: with the looks, noticed within 15 s.
	peerDead = 10 * time.Second
	// silentMost is how long a peer may have been dead when TCP says so.
	silentMost = 15 * time.Second
	// suspendedLong is how long an access server may take no data before that is said.
	suspendedLong = 5 * time.Second
	// finMost and finUnsure are how long the peer's FIN is waited for when ours is sent: where all bytes are known to be
	// taken from TCP, and where not: a connection that is closed while the peer still reads is a reset, which throws away
	// what it has not read.
	finMost, finUnsure = 2 * time.Second, 10 * time.Second
)

// closes is the clock over the bytes of an application that has closed the port.
type closes struct {
	called uint64    // the last close that it runs for
	since  time.Time // of the first
	leaves watch
}

// heldClock drops the bytes of closed ports that have waited for a session long enough.
func (r *run) heldClock(again *alarm, now time.Time) {
	closed, old, due := r.link.expire(now)
	r.outage(old)
	if closed > 0 {
		r.dropped(closed)
		r.log.Warn("no session came for the bytes of a closed port; they are dropped", "dropped", closed)
	}
	again.at(due)
}

// closeClock watches the bytes before a close, in the port and held: as long as they leave nobody hurries. After
// patience without progress they are dropped; without a session those that up has not come to wait for HoldFor, as
// heldClock has it.
func (r *run) closeClock(again *alarm, now time.Time) {
	c := &r.closes
	called := min(r.closesCalled.Load(), r.visits.Load()) // where up has not come to the open it does not know yet what its bytes wait for
	unseen := called > max(r.closesSeen.Load(), r.abandon.Load())
	if !unseen && !r.link.holdsClosed() {
		*c = closes{}
		return
	}
	if c.called = called; c.since.IsZero() {
		c.since = now
	}
	s := r.link.cur.Load()
	var until time.Time
	switch {
	case s != nil:
		until = c.leaves.stuck(s, now).Add(patience)
	case !unseen || r.link.held.keep == Forever || r.link.awaitsDial(): // heldClock's
		c.leaves = watch{}
		return
	default:
		c.leaves = watch{}
		until = c.since.Add(r.link.held.keep)
	}
	if now.Before(until) {
		again.at(minTime(until, now.Add(progressLook)))
		return
	}
	r.log.Warn("the last bytes of a closed port do not leave; they are dropped")
	r.abandon.Store(called)
	r.outage(r.link.dropClosed())
	if s != nil {
		r.end(errStuck, true, phaseIdle, now) // somebody may stand in its Write
	}
	r.link.wake()
}

// peer looks at the socket: a peer that acknowledges nothing is dead, and one that has ended the connection while down
// cannot read is gone for up. Without bytes on their way TCP's keepalive does this.
func (r *run) peer(again *alarm, now time.Time) {
	s := r.session
	if now.Before(s.lookAt) {
		again.at(s.lookAt)
		return
	}
	given := r.count.up.Load()
	p := s.Alive()
	every := peerGlance
	if p.Waiting > 0 || p.Unread > 0 || given != s.looked || s.writing.Load() > 0 {
		every = peerLook
	}
	s.looked, s.lookAt = given, now.Add(every)
	again.at(s.lookAt)
	switch {
	case p.Waiting >= peerDead:
		s.silent = p.Waiting
		s.fail(fmt.Errorf("%w: no acknowledgement for %v", errPeerDead, p.Waiting.Round(time.Second)))
		r.lose(true, now)
	case p.Ended && s.ended:
		// Seen twice: down had the time to read it, and is blocked in Port.Write.
		s.fail(io.EOF)
		r.lose(false, now)
	}
	s.ended = p.Ended
}

// suspension says when an access server has taken no data for long and bytes wait for it.
func (r *run) suspension(again *alarm, now time.Time) {
	s := r.session
	since := s.suspendedSince()
	if since.IsZero() || s.warned || !s.waiting.Load() {
		return
	}
	if until := since.Add(suspendedLong); now.Before(until) {
		again.at(until)
		return
	}
	s.warned = true
	r.far.Warn("the access server has asked for no more data, and bytes wait (--quirk suspend-ignore sends them all the same)",
		"remote", r.cfg.Remote.String(), "for", now.Sub(since).Round(time.Second))
}

// markClock has nobody wait for a mark that stays unanswered for markPatience: drain then rests on computation, until
// one is answered.
func (r *run) markClock(again *alarm, now time.Time) {
	s := r.session
	given, marked, _ := s.unsent.progress()
	if given == marked || s.doubted() {
		s.marks = watch{}
		return
	}
	if s.marks.since.IsZero() || s.marks.at.marked != marked {
		s.marks = watch{progress{marked: marked}, now}
	}
	if until := s.marks.since.Add(markPatience); now.Before(until) {
		again.at(until)
		return
	}
	s.doubts(marked)
	s.look()
}

// leave ends a session that nobody wants: linger first, then the time that the last bytes need, then FIN, then the peer's
// FIN. Somebody who comes before ours gets the session as it is.
func (r *run) leave(again *alarm, now time.Time) {
	s := r.session
	if r.phase == phaseLeft {
		r.awaitFIN(again, now)
		return
	}
	s.opens = r.link.opens()
	r.forgetVisit()
	if r.wanted() || r.kept() {
		s.unwanted = time.Time{}
		if r.phase == phaseClosing {
			r.enter(phaseUp, now)
		}
		return
	}
	if s.unwanted.IsZero() {
		s.unwanted = now
		s.mark()
	}
	if until := s.unwanted.Add(*r.policy.Linger); r.phase == phaseUp && !r.ending.over && now.Before(until) {
		again.at(until)
		return
	}
	if r.phase == phaseUp {
		r.enter(phaseClosing, now)
	}
	given, _, _ := s.unsent.progress()
	n := s.needs()
	stuck := s.leaves.stuck(s, now)
	switch {
	case n.left == 0 && !n.marking && n.sure:
		r.leaveEmpty(again, given, now)
	case now.Sub(stuck) >= patience:
		r.end(errStuck, true, phaseIdle, now)
	case n.left == 0: // the mark's answer kicks
		again.at(minTime(now.Add(progressLook), stuck.Add(patience)))
	default:
		again.at(now.Add(min(n.again, progressLook)))
	}
}

// leaveEmpty sends FIN, unless somebody has just come and written: bytes behind the given ones were not waited for.
func (r *run) leaveEmpty(again *alarm, given uint64, now time.Time) {
	s := r.session
	s.leaving.Store(true)                              // give says that it writes, and then looks at this: one of the two sees the other
	busy := r.link.holds() > 0 || s.writing.Load() > 0 // before what was given: what moves on between is in that
	if n, _, _ := s.unsent.progress(); busy || n != given {
		s.leaving.Store(false)
		again.at(now.Add(ackMost))
		return
	}
	s.drained = true
	r.enter(phaseLeft, now)
}

// forgetVisit has linger count from here where a program came and went while the session stands: it has had it.
func (r *run) forgetVisit() {
	if visits := r.visits.Load(); visits != r.served {
		r.served = visits
		r.session.unwanted = time.Time{}
	}
}

// kept reports whether the session stays though nobody has the port open: its end would let DTR fall, which the last
// program has left up.
func (r *run) kept() bool {
	s := r.session
	if !r.hupcl || !r.dtrUp.Load() || r.ending.over {
		return false
	}
	if !s.kept {
		s.kept = true
		r.log.Info("the session stays: the last program has left DTR up, HUPCL is off (--linger bounds it)")
	}
	return true
}

// awaitFIN waits for the end of a session that is left: down reads on until then.
func (r *run) awaitFIN(again *alarm, now time.Time) {
	s := r.session
	most := finMost
	if s.unsent.sinceMark() > 0 && !r.wanted() {
		most = finUnsure
	}
	if until := s.leaves.stuck(s, now).Add(most); now.Before(until) {
		again.at(until)
		return
	}
	r.end(errNoFIN, true, phaseIdle, now)
}
