package bridge

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// link is the current session, or the wait for one; what is held for it; and the settings that the far UART should have.
//
// One goroutine at a time is the sender. It is up while directTo is set. When a session comes and something is held,
// resend is the sender and up appends to what is held; directTo is set when nothing is left. Both changes happen under mu:
// nothing is lost in between, nothing is sent twice, and no data byte precedes the state.
type link struct {
	pinned settings // constant

	// Set under mu, read by any goroutine.
	directTo atomic.Pointer[session] // the session that up writes to itself; nil: up holds what comes
	current  atomic.Pointer[session] // the session that is up; nil: none is. Set by Run alone

	notifier notifier // any change of the link, and of whatever else the result of Unsent depends on; for hosts and for awaitEmpty

	mu        sync.Mutex // guards everything below, and every change of the two above; never held over I/O
	changed   sync.Cond  // a change that up or resend may wait for: a session, room, the end of a suspension
	held      held
	requested settings  // what the application has requested, the held changes included
	logged    settings  // as last logged
	resending bool      // resend runs
	downSince time.Time // while no session is up: when the last one ended, or when the port was opened if that was later
	closed    bool      // the port is closed: every wait ends

	// fresh: an open is waiting for its first dial to end. Its bytes do not age until then, or until freshUntil.
	fresh      bool
	freshFirst uint64 // that open, or the first of several, as counted by held.open
	dialing    bool
	freshUntil time.Time // zero: no dial has begun
}

// freshMost limits how long the bytes of an open wait for its first dial once that has begun.
const freshMost = 10 * time.Second

func (l *link) init(p Policy) {
	l.pinned = settings{Coding: p.Coding, Flow: p.Flow}
	l.changed.L = &l.mu
	l.requested = settings{Coding: uart.DefaultCoding()} // of a new port only the line coding is set
	l.held.state = l.requested
	switch p.OnLoss {
	case OnLossHold:
		l.held.holdFor = *p.HoldFor
	case OnLossDiscard, OnLossHangup: // nothing is held, except for the first dial of an open
		l.held.holdFor = 0
	}
	l.downSince = time.Now()
}

// direct is the session that up writes to itself and that has not failed; nil: up holds what comes.
func (l *link) direct() *session {
	if s := l.directTo.Load(); s != nil && !s.failed() {
		return s
	}
	return nil
}

// withPinned returns s with the pinned settings over it.
func (l *link) withPinned(s settings) settings {
	s.Coding = l.pinned.Coding.Over(s.Coding)
	s.Flow = l.pinned.Flow.Over(s.Flow)
	return s
}

// state is what a new session starts with: the settings before everything that is held.
func (l *link) state() settings {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.withPinned(l.held.state)
}

// after returns the settings after an event that is to be sent to the current session next.
func (l *link) after(e uart.Event) settings {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.withPinned(l.held.state.merge(e))
}

// merge merges an event that is about to be sent to the session into the state, and returns the settings after it. If up
// calls it and does not write to this session any more, it does nothing and ok is false. What resend sends is in the
// state already.
func (l *link) merge(s *session, e uart.Event, fromUp bool) (next settings, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fromUp {
		if l.directTo.Load() != s {
			return next, false
		}
		l.held.state = l.held.state.merge(e)
	}
	return l.withPinned(l.held.state), true
}

// broadcast wakes all goroutines that wait for a change. The caller holds mu.
func (l *link) broadcast() {
	l.changed.Broadcast()
	l.notifier.notify()
}

// notify makes up and resend check again what they wait for.
func (l *link) notify() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broadcast()
}

// close ends every wait, drops what is held, and returns how many bytes that was.
func (l *link) close() (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.broadcast()
	return l.held.dropBytes()
}

// attach makes s, which has received the state, the current session. It reports whether resend must be started.
func (l *link) attach(s *session) (resend bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current.Store(s)
	l.fresh, l.dialing = false, false
	l.broadcast()
	if l.resending || l.caughtUp(s) {
		return false
	}
	l.resending = true
	return true
}

// caughtUp reports whether s has received everything that was held; if so, up writes to it from now on. The caller holds
// mu.
func (l *link) caughtUp(s *session) bool {
	if !l.held.empty() || s.sent != l.withPinned(l.held.state) {
		return false
	}
	l.held.items = nil // only closes were left
	l.directTo.Store(s)
	return true
}

// detach removes the current session. It returns how many breaks were held and are dropped: they make no sense later.
func (l *link) detach(now time.Time) (breaks int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.detachLocked(now)
}

func (l *link) detachLocked(now time.Time) (breaks int) {
	if l.current.Load() != nil {
		l.downSince = now
	}
	l.current.Store(nil)
	l.directTo.Store(nil)
	l.broadcast()
	return l.held.unlink()
}

// detachUnwanted is detach for a session that was found unwanted when the port had been opened that many times. Bytes of
// a later open, which found the session up but cannot use it, wait for the next dial as if that open had come after the
// end.
func (l *link) detachUnwanted(opens uint64, now time.Time) (breaks int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	breaks = l.detachLocked(now)
	if l.held.open > opens && !l.fresh {
		l.fresh, l.freshFirst, l.freshUntil = true, opens+1, time.Time{}
	}
	return breaks
}

// opens returns how often the port was opened.
func (l *link) opens() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.open
}

// opened records that the application has opened the port: its bytes wait for the first dial.
func (l *link) opened(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held.open++
	if s := l.current.Load(); s != nil && !s.failed() || l.fresh {
		return
	}
	l.fresh, l.freshFirst, l.downSince, l.freshUntil = true, l.held.open, now, time.Time{}
	if l.dialing {
		l.freshUntil = now.Add(freshMost)
	}
}

// dialBegins records that a dial has begun.
func (l *link) dialBegins(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialing = true; l.fresh && l.freshUntil.IsZero() {
		l.freshUntil = now.Add(freshMost)
	}
}

// dialCanceled records that the dial in progress is not wanted any more.
func (l *link) dialCanceled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialing = false
}

// dialFailed records that a dial has failed that was for that many opens: from now on held bytes age, except those of
// later opens. It returns how many are too old already and are dropped.
func (l *link) dialFailed(opens uint64) (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh, l.dialing = l.held.open > opens, false
	l.freshFirst, l.freshUntil = opens+1, time.Time{}
	l.broadcast()
	return l.dropOldLocked()
}

// awaitsDial reports whether the bytes of an open wait for its first dial.
func (l *link) awaitsDial() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fresh
}

// dropOld drops what is too old if no session is up, and returns how many bytes that was.
func (l *link) dropOld() (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropOldLocked()
}

func (l *link) dropOldLocked() int {
	if l.current.Load() != nil {
		return 0
	}
	if l.held.holdFor == 0 && !l.fresh {
		return l.held.drop(len(l.held.items))
	}
	if newest, ok := l.held.newest(); ok {
		return l.held.drop(l.held.tooOld(newest, l.freshFrom()))
	}
	return 0
}

// freshFrom returns the number of the first open whose bytes do not age yet. The caller holds mu.
func (l *link) freshFrom() uint64 {
	if l.fresh {
		return l.freshFirst
	}
	return math.MaxUint64
}

// expire drops the bytes of closed ports that have waited long enough, and, if an open has waited long enough for its
// dial, those that are too old. It returns how many bytes of each, and when it is due next; zero: not before something
// changes.
func (l *link) expire(now time.Time) (closed, old int, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current.Load() != nil {
		return 0, 0, due
	}
	if l.fresh && !l.freshUntil.IsZero() && !now.Before(l.freshUntil) {
		l.fresh = false
		old = l.dropOldLocked()
	}
	n, due := l.held.expired(now, l.freshFrom())
	if l.fresh && (due.IsZero() || !l.freshUntil.IsZero() && l.freshUntil.Before(due)) {
		due = l.freshUntil
	}
	if closed = l.held.drop(n); closed+old > 0 {
		l.broadcast()
	}
	return closed, old, due
}

// holdsClosed reports whether bytes of an open that is closed are held.
func (l *link) holdsClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.beforeClose() > 0
}

// holdsBefore reports whether bytes are held that were written before this visit.
func (l *link) holdsBefore(visit uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.held.items, func(it item) bool { return it.isData() && it.visit < visit })
}

// dropClosed drops the bytes of opens that are closed, and returns how many they were.
func (l *link) dropClosed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.drop(l.held.beforeClose())
}

// heldBytes returns how many bytes wait for a session.
func (l *link) heldBytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.bytes
}

// holding reports whether bytes wait for a session, or resend still has to send a change that waited.
func (l *link) holding() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.bytes > 0 || l.resending
}

// left is uart.PortConfig.Unsent while up does not write to a session itself: held bytes count too. Without a session,
// Left is negative once HoldFor has passed, as with a cut cable.
func (l *link) left(now time.Time) uart.Unsent {
	l.mu.Lock()
	s, held, lineTime := l.current.Load(), l.held.bytes, l.held.lineTime(l.withPinned)
	if s == nil {
		defer l.mu.Unlock()
		return l.leftWithoutSession(now)
	}
	l.mu.Unlock()
	if s.failed() { // Run is about to detach it and to set downSince
		return uart.Unsent{Left: recheckMost, Bytes: max(held, 1)}
	}
	u := s.left() // the notifier reports the change to direct writes
	u.Left += max(lineTime, ackFirst)
	u.Bytes = max(u.Bytes+held, 1)
	return u
}

// leftWithoutSession is left while no session is up. The caller holds mu.
func (l *link) leftWithoutSession(now time.Time) uart.Unsent {
	outage := l.held.holdFor
	switch {
	case l.fresh && l.freshUntil.IsZero():
		outage = Forever
	case l.fresh:
		outage = max(outage, l.freshUntil.Sub(l.downSince))
	}
	recheck := recheckMost
	if outage != Forever {
		recheck = min(recheck, l.downSince.Add(outage).Sub(now))
	}
	switch {
	case recheck <= 0:
		return uart.Unsent{Left: -1}
	case l.held.bytes > 0:
		return uart.Unsent{Left: recheck, Bytes: l.held.bytes}
	}
	return uart.Unsent{}
}

// notifier wakes goroutines that wait for a change. The zero value is ready. Both methods may be called from any goroutine,
// under any lock, and never block.
type notifier struct {
	mu sync.Mutex // guards c
	c  chan struct{}
}

// wait returns a channel that the next notify closes. A caller that checks a condition after wait misses no change of it.
func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.c == nil {
		n.c = make(chan struct{})
	}
	return n.c
}

// notify wakes every goroutine that waits.
func (n *notifier) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.c != nil {
		close(n.c)
		n.c = nil
	}
}
