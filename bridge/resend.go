package bridge

import "telnetcpc/bridge/uart"

// resend gives a new session what is held, in its order, until nothing is: then up gives what comes itself. It is started
// by stand, once at a time; it ends then, when there is no session any more, and when the port is closed.
func (r *run) resend() {
	for {
		s, p, visit, e := r.nextHeld()
		switch {
		case s == nil:
			r.kickRun() // nothing is held any more: perhaps nobody wants the session
			return
		case len(p) == 0:
			if !r.forward(s, e) {
				r.endResend()
				return
			}
			continue
		}
		n := r.give(s, p, visit)
		r.link.mu.Lock()
		if dropped, purged := r.link.held.gave(n); purged {
			r.dropped(dropped)
		} else {
			r.outage(dropped)
		}
		r.link.broadcast() // there may be room
		r.link.mu.Unlock()
	}
}

// nextHeld waits for what the session is to get next: bytes, which stay in hand and are in use, and after how many closes
// they came, or a change. No session: resend's work is over.
func (r *run) nextHeld() (s *session, p []byte, visit uint64, e uart.Event) {
	l := &r.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		s = l.cur.Load()
		if l.over || s == nil || s.failed() {
			break
		}
		if r.dropping() {
			r.dropHeld(0)
		}
		if l.settled(s) {
			break
		}
		if s.told != l.inForce(l.held.state) { // it has changed while the session was told, or by what was dropped
			return s, nil, 0, uart.Event{Kind: uart.KindSettings}
		}
		p, visit, e, ok := l.held.next()
		switch {
		case !ok: // there were closes alone
			continue
		case len(p) == 0:
			return s, nil, 0, e
		case s.suspended.Load() == 0:
			l.held.inUse = true
			return s, p, visit, e
		}
		r.awaitResume(s)
	}
	l.sending = false
	l.broadcast()
	return nil, nil, 0, uart.Event{}
}

// endResend notes that resend has ended in the middle: the end has come.
func (r *run) endResend() {
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	r.link.sending = false
	r.link.broadcast()
}

// forward does what a change that was held, or a purge, means to the session. Only the one who sends calls it. It reports
// false where the end has come and a change is not told any more.
func (r *run) forward(s *session, e uart.Event) bool {
	if e.Kind == uart.KindPurge {
		if err := s.Apply(e); err != nil {
			r.sendFailed(s, err)
		}
		if e.Purge&uart.PurgeTx != 0 {
			s.unsent.purged()
		}
		return true
	}
	return r.change(s, e, false)
}
