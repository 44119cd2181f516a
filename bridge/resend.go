package bridge

import "telnetcpc/bridge/uart"

// resend gives a new session what is held, in order, until nothing is left; then up is the sender again. It is started by
// sessionUp, at most one at a time. It ends when nothing is held, when the session has ended, or when the port is closed.
func (r *run) resend() {
	for {
		s, p, visit, e := r.nextHeld()
		switch {
		case s == nil:
			r.wakeRun() // nothing is held any more: perhaps the session is not wanted any more
			return
		case len(p) == 0:
			if !r.forward(s, e) {
				r.stopResend()
				return
			}
			continue
		}
		n := r.write(s, p, visit)
		r.link.mu.Lock()
		if dropped, purged := r.link.held.sent(n); purged {
			r.countDropped(dropped)
		} else {
			r.countLost(dropped)
		}
		r.link.broadcast() // there may be room
		r.link.mu.Unlock()
	}
}

// nextHeld waits for what is to be sent next: bytes, which stay in the queue and are in use from now on, with their
// visit; or a change. A nil session means that resend is done.
func (r *run) nextHeld() (s *session, p []byte, visit uint64, e uart.Event) {
	l := &r.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		s = l.current.Load()
		if l.closed || s == nil || s.failed() {
			break
		}
		if r.dropping() {
			r.dropHeld(0)
		}
		if l.caughtUp(s) {
			break
		}
		if s.sent != l.withPinned(l.held.state) { // the state has changed during the dial, or because items were dropped
			return s, nil, 0, uart.Event{Kind: uart.KindSettings}
		}
		p, visit, e, ok := l.held.next()
		switch {
		case !ok: // only closes were left
			continue
		case len(p) == 0:
			return s, nil, 0, e
		case s.suspendedAt.Load() == 0:
			l.held.inUse = true
			return s, p, visit, e
		}
		r.awaitResume(s)
	}
	l.resending = false
	l.broadcast()
	return nil, nil, 0, uart.Event{}
}

// stopResend records that resend has stopped although something is still held, because of the shutdown.
func (r *run) stopResend() {
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	r.link.resending = false
	r.link.broadcast()
}

// forward sends a change that was held, or a purge, to the session. Only the sender (see link) may call it. It returns
// false if the change was not sent because of the shutdown.
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
