//go:build amd64 || arm64

package run

import "time"

// Calls that are interrupted, and made again.
//
// The kernel does not tell when a call that was received is gone: a signal has interrupted it, or killed its thread. What
// tells is the next call of the thread, which can make only one at a time; the end of the last program; and a look now and
// then for the rest (wait_linux.go).
//
// A call that is made again, by the kernel behind a handler with SA_RESTART or by a program that has read EINTR, is the
// same as the first in all that the kernel tells of it. What must not be done twice is not: a break goes on, an open waits
// on until the second one is there, and the answer of a purge that was too late is the second's.

// againWithin is how soon a call must come to be an interrupted one that is made again: a handler is short, and who has read
// EINTR may mean a later call as a second one. A port looks open for as long, where an open of it was interrupted.
const againWithin = 100 * time.Millisecond

// interruption is a call that waits, or has waited in vain.
type interruption struct {
	l    *listener
	gone chan struct{} // closed when the call does not wait any more, as far as is known
}

// answered is an answer that was too late.
type answered struct {
	data   [8]uint64 // of the call; see signature
	answer response
	at     time.Time
}

// signature is what the kernel tells of a call, without its thread.
func (c *call) signature() (s [8]uint64) {
	s[0], s[1] = uint64(uint32(c.n.Data.Number))<<32|uint64(c.n.Data.Arch), c.n.Data.IP
	copy(s[2:], c.n.Data.Args[:])
	return s
}

// begin notes that a thread calls. gone, which may be nil, is to be closed when the call was performed or waits: an earlier
// call of the thread does not wait any more. done: it was an earlier one made again, and has its answer.
func (h *Host) begin(c *call) (gone chan struct{}, done bool) {
	h.mu.Lock()
	i, waited := h.waiting[c.n.TID]
	if waited {
		delete(h.waiting, c.n.TID)
	}
	late, was := h.late[c.n.TID]
	if was {
		delete(h.late, c.n.TID)
	}
	h.mu.Unlock()
	if was && late.data == c.signature() && time.Since(late.at) < againWithin {
		c.once = true
		c.send(late.answer)
		done = true
	}
	return i.gone, done
}

// keepAnswer keeps an answer that was too late. Of threads that do not call again, or do something else, none are kept for
// long.
func (h *Host) keepAnswer(c *call, r response) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for tid, late := range h.late {
		if now.Sub(late.at) >= againWithin {
			delete(h.late, tid)
		}
	}
	h.late[c.n.TID] = answered{c.signature(), r, now}
}

// waits notes that the call waits. What it returns is closed where the program calls again from the same thread, or no
// program is left: then it does not wait any more.
func (c *call) waits() (gone chan struct{}) {
	gone = make(chan struct{})
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	c.host.waiting[c.n.TID] = interruption{c.l, gone}
	return gone
}

func (c *call) waitsNoMore(gone chan struct{}) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if c.host.waiting[c.n.TID].gone == gone {
		delete(c.host.waiting, c.n.TID)
	}
}

// leave ends the waits of all calls of a listener: no program is left that waits.
func (h *Host) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for tid, i := range h.waiting {
		if i.l == l {
			delete(h.waiting, tid)
			close(i.gone)
		}
	}
}
