package bridge

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// link is the present session, or the wait for it; what is held for it; and the settings to be in force.
//
// One goroutine at a time sends. While direct is set that is up. When a session comes and something is held, resend
// sends, up puts what comes behind that, and direct is set when nothing is left. Both changes happen under mu: nothing
// is lost between, nothing is sent twice, and no data byte precedes the state.
type link struct {
	pinned settings // constant

	direct atomic.Pointer[session] // the session that up gives to; nil: it holds. Set under mu
	cur    atomic.Pointer[session] // the session that stands; nil: no link. Set by Run alone, under mu

	mu      sync.Mutex // over all below, and the changes of the two above; held over no I/O
	changed sync.Cond  // anything that up or resend waits for: a session, room, the end of a suspension
	notice  notice     // that, and what else an answer of Unsent depends on: for hosts, and for up while it waits for unsent bytes
	held    held
	wanted  settings  // the application's, behind all that is held
	said    settings  // what the log was told last
	sending bool      // resend runs
	since   time.Time // of no link: since when there is none, or since it was opened
	over    bool      // the port is closed: nobody waits any more

	// An open has had no dial to its end yet: its bytes are not old, and wait for one, freshMost from its beginning.
	fresh   bool
	first   uint64 // that open, or the first of several, as held.open counts
	dialing bool
	freshBy time.Time // zero: no dial has begun
}

// freshMost bounds how long the bytes of an open wait for its first dial, once that has begun.
const freshMost = 10 * time.Second

func (l *link) init(p Policy) {
	l.pinned = settings{Coding: p.Coding, Flow: p.Flow}
	l.changed.L = &l.mu
	l.wanted = settings{Coding: uart.DefaultCoding()} // a port that was just made has said nothing but its line coding
	l.held.state = l.wanted
	if p.OnLoss == OnLossHold {
		l.held.keep = *p.HoldFor
	}
	l.since = time.Now()
}

// giver is the session that up gives to itself, and which has not failed; nil: up has what comes held.
func (l *link) giver() *session {
	if s := l.direct.Load(); s != nil && !s.failed() {
		return s
	}
	return nil
}

// inForce returns the settings with the pinned ones over them.
func (l *link) inForce(s settings) settings {
	s.Coding = l.pinned.Coding.Over(s.Coding)
	s.Flow = l.pinned.Flow.Over(s.Flow)
	return s
}

// state is what a new session is to be told: the settings ahead of what is held.
func (l *link) state() settings {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inForce(l.held.state)
}

// after is what is to be in force behind an event that the present session is told next.
func (l *link) after(e uart.Event) settings {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inForce(l.held.state.merge(e))
}

// merge takes into the state an event that the session is told now, and returns what is to be in force. ok is false, and
// nothing is done, where up asks and does not give to this session any more. What resend tells is in the state already.
func (l *link) merge(s *session, e uart.Event, up bool) (next settings, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if up {
		if l.direct.Load() != s {
			return next, false
		}
		l.held.state = l.held.state.merge(e)
	}
	return l.inForce(l.held.state), true
}

// broadcast tells that something has changed. The caller holds mu.
func (l *link) broadcast() {
	l.changed.Broadcast()
	l.notice.tell()
}

// wake lets up and resend look again.
func (l *link) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broadcast()
}

// end lets nobody wait any more, and returns how many bytes were held: nobody will get them.
func (l *link) end() (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.broadcast()
	return l.held.dropBytes()
}

// stand makes s, which was told the state, the present session. It reports whether resend is to be started.
func (l *link) stand(s *session) (resend bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cur.Store(s)
	l.fresh, l.dialing = false, false
	l.broadcast()
	if l.sending || l.settled(s) {
		return false
	}
	l.sending = true
	return true
}

// settled sets direct where s has got all that is held, and reports whether it has. The caller holds mu.
func (l *link) settled(s *session) bool {
	if !l.held.empty() || s.told != l.inForce(l.held.state) {
		return false
	}
	l.held.items = nil // closes
	l.direct.Store(s)
	return true
}

// clear takes the present session out. It returns how many breaks were held: they make no sense later.
func (l *link) clear(now time.Time) (breaks int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.takeOut(now)
}

// takeOut is clear. The caller holds mu.
func (l *link) takeOut(now time.Time) (breaks int) {
	if l.cur.Load() != nil {
		l.since = now
	}
	l.cur.Store(nil)
	l.direct.Store(nil)
	l.broadcast()
	return l.held.unlink()
}

// opens is how often the port was opened.
func (l *link) opens() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.open
}

// leave is clear for a session that is left because nobody wants it, as a look after so many opens has found. A later open
// has seen the session and gets nothing of it: its bytes wait for the first dial, as if it had come behind this.
func (l *link) leave(opens uint64, now time.Time) (breaks int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	breaks = l.takeOut(now)
	if l.held.open > opens && !l.fresh {
		l.fresh, l.first, l.freshBy = true, opens+1, time.Time{}
	}
	return breaks
}

// opened notes that the application has opened the port: its bytes wait for the first dial.
func (l *link) opened(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held.open++
	if s := l.cur.Load(); s != nil && !s.failed() || l.fresh {
		return
	}
	l.fresh, l.first, l.since, l.freshBy = true, l.held.open, now, time.Time{}
	if l.dialing {
		l.freshBy = now.Add(freshMost)
	}
}

// dialBegins notes that a dial has begun.
func (l *link) dialBegins(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialing = true; l.fresh && l.freshBy.IsZero() {
		l.freshBy = now.Add(freshMost)
	}
}

// dialStopped notes that nobody waits for the dial under way any more.
func (l *link) dialStopped() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialing = false
}

// dialFailed notes that a dial, which ended after so many opens, has led to nothing: from now on held bytes age, but for
// those of later opens. It returns how many were too old already.
func (l *link) dialFailed(opens uint64) (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh, l.dialing = l.held.open > opens, false
	l.first, l.freshBy = opens+1, time.Time{}
	l.broadcast()
	return l.dropOld()
}

// awaitsDial reports whether the bytes of an open wait for its first dial.
func (l *link) awaitsDial() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fresh
}

// age drops what is too old where there is no session, and returns how much that was.
func (l *link) age() (dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropOld()
}

// dropOld is age. The caller holds mu.
func (l *link) dropOld() int {
	if l.cur.Load() != nil {
		return 0
	}
	if l.held.keep == 0 && !l.fresh {
		return l.held.drop(len(l.held.items))
	}
	if newest, ok := l.held.newest(); ok {
		return l.held.drop(l.held.tooOld(newest, l.freshFrom()))
	}
	return 0
}

// freshFrom is the first of the opens whose bytes do not age yet. The caller holds mu.
func (l *link) freshFrom() uint64 {
	if l.fresh {
		return l.first
	}
	return math.MaxUint64
}

// expire drops the bytes of closed ports that have waited long enough, and where an open has waited for its dial long
// enough those that are old. It returns how many of each, and when to look again; zero: when something changes.
func (l *link) expire(now time.Time) (closed, old int, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur.Load() != nil {
		return 0, 0, due
	}
	if l.fresh && !l.freshBy.IsZero() && !now.Before(l.freshBy) {
		l.fresh = false
		old = l.dropOld()
	}
	n, due := l.held.expired(now, l.freshFrom())
	if l.fresh && (due.IsZero() || !l.freshBy.IsZero() && l.freshBy.Before(due)) {
		due = l.freshBy
	}
	if closed = l.held.drop(n); closed+old > 0 {
		l.broadcast()
	}
	return closed, old, due
}

// holdsClosed reports whether bytes are held of an open that is closed.
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

// holds is how many bytes wait for a session.
func (l *link) holds() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.bytes
}

// left is uart.PortConfig.Unsent while up does not give to a session itself: what is held counts too. Without a link it
// is negative when HoldFor is over, as at a cut cable.
func (l *link) left(now time.Time) uart.Unsent {
	l.mu.Lock()
	s, held, lineTime := l.cur.Load(), l.held.bytes, l.held.lineTime(l.inForce)
	if s == nil {
		defer l.mu.Unlock()
		return l.leftAlone(now)
	}
	l.mu.Unlock()
	if s.failed() { // Run is about to say that there is no link, and since when
		return uart.Unsent{Left: lookAgain, Bytes: max(held, 1)}
	}
	u := s.left() // what changes before up gives to it itself is told
	u.Left += max(lineTime, ackFirst)
	u.Bytes = max(u.Bytes+held, 1)
	return u
}

// leftAlone is left without a link. The caller holds mu.
func (l *link) leftAlone(now time.Time) uart.Unsent {
	outage := l.held.keep
	switch {
	case l.fresh && l.freshBy.IsZero():
		outage = Forever
	case l.fresh:
		outage = max(outage, l.freshBy.Sub(l.since))
	}
	again := lookAgain
	if outage != Forever {
		again = min(again, l.since.Add(outage).Sub(now))
	}
	switch {
	case again <= 0:
		return uart.Unsent{Left: -1}
	case l.held.bytes > 0:
		return uart.Unsent{Left: again, Bytes: l.held.bytes}
	}
	return uart.Unsent{}
}
