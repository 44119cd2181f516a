package bridge

import (
	"fmt"
	"io"
	"time"
)

// The clocks that Run looks at in each step: each returns when it is due next.

const (
	// closePatience is how long the bytes of an application that is gone may stand still before they are dropped.
	closePatience = 30 * time.Second
	// closeLook is how often their progress is looked at.
	closeLook = 5 * time.Second
	// peerLook is how often Run looks at the socket while bytes are on their way, peerGlance while none are.
	peerLook, peerGlance = 2 * time.Second, 5 * time.Second
	// peerDead is how long data may be in flight without an acknowledgement: with the looks, noticed within 15 s.
	peerDead = 10 * time.Second
)

// closeClock watches the bytes of an application that has closed the port: as long as they leave nobody hurries; after
// closePatience without progress what lies before the close is dropped.
func (r *run) closeClock(now time.Time) time.Time {
	st := &r.state
	called := r.closesCalled.Load()
	if called <= max(r.closesSeen.Load(), r.abandon.Load()) {
		return time.Time{}
	}
	far := gone{given: r.count.up.Load()}
	s := r.link.current()
	if s != nil {
		far.unacked = s.Unacked()
	}
	if called != st.closeCalled || far != st.closeGone {
		st.closeCalled, st.closeGone, st.closeSince = called, far, now
	}
	if until := st.closeSince.Add(closePatience); now.Before(until) {
		return minTime(until, now.Add(closeLook))
	}
	r.log.Warn("the last bytes of a closed port did not leave; they are dropped and counted", "waited", closePatience)
	r.abandon.Store(called)
	if s != nil {
		s.fail(errStuck)
		s.Close() // up may stand in its Write
	}
	r.link.wakeUp()
	return now
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// peer looks at the socket: a peer that acknowledges nothing is dead, and one that has ended the connection while down
// cannot read is gone for up. Without bytes on their way TCP's keepalive does this.
func (r *run) peer(s *session, now time.Time) (time.Time, error) {
	st := &r.state
	if now.Before(st.lookAt) {
		return st.lookAt, nil
	}
	given := r.count.up.Load()
	p := s.Alive()
	every := peerGlance
	if p.Waiting > 0 || given != st.looked || r.writing.Load() > 0 {
		every = peerLook
	}
	st.looked, st.lookAt = given, now.Add(every)
	switch {
	case p.Waiting >= peerDead:
		err := fmt.Errorf("%w: no acknowledgement for %v", errPeerDead, p.Waiting.Round(time.Second))
		s.fail(err)
		s.Close()
		return now, r.lose(s, now)
	case p.Ended && st.ended:
		// Seen twice: down had the time to read it, and stands in Port.Write.
		s.fail(io.EOF)
		return now, r.lose(s, now)
	}
	st.ended = p.Ended
	if r.unsent.sinceMark() > 0 {
		s.mark()
	}
	return st.lookAt, nil
}

// markClock stops believing in marks that stay unanswered for markPatience: drain then rests on computation.
func (r *run) markClock(s *session, now time.Time) time.Time {
	st := &r.state
	since := r.unsent.sinceMark()
	if since == 0 || !s.marks.Load() {
		st.markSince = time.Time{}
		return time.Time{}
	}
	if st.markSince.IsZero() || since < st.markBytes {
		st.markSince = now
	}
	st.markBytes = since
	if until := st.markSince.Add(markPatience); now.Before(until) {
		return until
	}
	s.marks.Store(false)
	return time.Time{}
}

// lingerAndClose ends a session that nobody wants: linger first, then the mark, then the time that the far UART still
// needs, then FIN. Somebody who comes meanwhile gets the session as it is.
func (r *run) lingerAndClose(s *session, wanted bool, now time.Time) time.Time {
	st := &r.state
	if wanted {
		if !st.closing.IsZero() {
			r.board.link(LinkUp)
		}
		st.idle, st.closing = time.Time{}, time.Time{}
		return time.Time{}
	}
	if st.idle.IsZero() {
		st.idle = now
		if r.unsent.sinceMark() > 0 {
			s.mark()
		}
	}
	if until := st.idle.Add(r.policy.Linger); now.Before(until) {
		return until
	}
	if st.closing.IsZero() {
		st.closing = now
		r.board.link(LinkClosing)
	}
	if left := r.Unsent(); left > 0 && (s.Unacked() <= 0 || now.Before(st.closing.Add(closePatience))) {
		return now.Add(left)
	}
	s.Close()
	r.link.clear()
	st.idle, st.closing, st.stands = time.Time{}, time.Time{}, time.Time{}
	st.backoff.Reset()
	st.dialAt = time.Time{}
	r.board.link(LinkIdle)
	r.linesFall()
	r.log.Info("session closed", "remote", r.cfg.Remote.String())
	return now
}
