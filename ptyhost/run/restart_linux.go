//go:build amd64 || arm64

package run

import "time"

// Calls that are interrupted and restarted.
//
// The kernel does not report that a call which was received has been interrupted by a signal, or that its thread was
// killed. What shows it is the thread's next call, since a thread makes only one at a time; the exit of the last
// program; and, for the rest, a check from time to time (wait_linux.go).
//
// A restarted call, by the kernel after a handler with SA_RESTART or by a program that got EINTR, looks exactly like
// the first one. What must not be done twice is not: a break continues, an open goes on waiting for a moment until the
// second one arrives, and the response to a purge that came too late is given to the second one.

// restartWindow is how soon a call must arrive to be taken for a restarted one: a signal handler is short, and a
// program that got EINTR may mean a later call as a second one. An interrupted open keeps the port open for as long.
const restartWindow = 100 * time.Millisecond

// waitingCall is a call that waits.
type waitingCall struct {
	l    *listener
	gone chan struct{} // closed when the call is known to be gone
}

// lateResponse is a response that came too late.
type lateResponse struct {
	signature [8]uint64 // of the call
	response  response
	at        time.Time
}

// signature is everything that identifies a call but its thread.
func (c *call) signature() (s [8]uint64) {
	s[0], s[1] = uint64(uint32(c.n.Data.Number))<<32|uint64(c.n.Data.Arch), c.n.Data.IP
	copy(s[2:], c.n.Data.Args[:])
	return s
}

// matchRestart handles what the arrival of a call says of earlier calls of its thread. If one of them waited, it is
// gone, and the caller must close gone (may be nil) after c was performed or waits itself. If c is an earlier call
// restarted whose response came too late, c has been answered with that, and done is true.
func (h *Host) matchRestart(c *call) (gone chan struct{}, done bool) {
	h.mu.Lock()
	i, waited := h.waiting[c.n.TID]
	if waited {
		delete(h.waiting, c.n.TID)
	}
	late, was := h.lateResponses[c.n.TID]
	if was {
		delete(h.lateResponses, c.n.TID)
	}
	h.mu.Unlock()
	if was && late.signature == c.signature() && time.Since(late.at) < restartWindow {
		c.onceOnly = true
		c.respond(late.response)
		done = true
	}
	return i.gone, done
}

// keepLateResponse keeps a response that came too late, and drops those whose threads did not restart their calls in
// time.
func (h *Host) keepLateResponse(c *call, r response) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for tid, late := range h.lateResponses {
		if now.Sub(late.at) >= restartWindow {
			delete(h.lateResponses, tid)
		}
	}
	h.lateResponses[c.n.TID] = lateResponse{c.signature(), r, now}
}

// registerWait registers that the call waits. gone is closed when its thread makes another call, or no program is left:
// then it no longer waits.
func (c *call) registerWait() (gone chan struct{}) {
	gone = make(chan struct{})
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	c.host.waiting[c.n.TID] = waitingCall{c.l, gone}
	return gone
}

func (c *call) unregisterWait(gone chan struct{}) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if c.host.waiting[c.n.TID].gone == gone {
		delete(c.host.waiting, c.n.TID)
	}
}

// endWaits ends the waits of all calls of a listener, because no program is left.
func (h *Host) endWaits(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for tid, i := range h.waiting {
		if i.l == l {
			delete(h.waiting, tid)
			close(i.gone)
		}
	}
}
