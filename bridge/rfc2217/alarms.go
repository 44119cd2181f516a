package rfc2217

import (
	"sync"
	"time"
)

// cause is one reason for which the reader must stop waiting for the peer at a certain time.
type cause uint8

const (
	ackDue      cause = iota // a setting has been without an answer for too long; the writer's and the reader's
	greetingDue              // what has come without an answer is the device's; the writer's and the reader's
	ffSilence                // nothing has followed a 255 that may be data; the reader's
	numCauses                // of them
)

// causes is a set of them.
type causes uint8

// has reports whether k is one of them.
func (s causes) has(k cause) bool { return s&(1<<k) != 0 }

// lastLook is how long the reader looks for bytes that are there already, before what is due counts as due.
const lastLook = 20 * time.Millisecond

// alarms share the one read deadline of a connection among several causes: it is the earliest of their times. A read that
// fails with os.ErrDeadlineExceeded has not looked at the socket: after a pause of the reader's, what was waited for may
// lie there. So the reader asks rang, which has it look once more, and only when that look has found nothing are the causes
// due whose time has come. A peer that never stops sending puts them off for patience at most.
//
// set may be called by any goroutine; got and rang are the reader's; start and patience are whoever's makes the session.
type alarms struct {
	deadline func(time.Time) error // the connection's SetReadDeadline, which does not block
	patience time.Duration         // constant

	found bool // bytes have come since the last look began; the reader's alone

	mu    sync.Mutex           // over everything below, and the calls of deadline
	runs  bool                 // start was called; before that the deadline is the opening's
	at    [numCauses]time.Time // zero: not waited for
	force time.Time            // the deadline in force; never later than the earliest of at, but perhaps earlier
	look  time.Time            // when the look that is under way ends; zero: there is none
	since time.Time            // when the first of the looks began; zero: there was none
}

// start puts the alarms in force: from now on the connection's read deadline, which must be none, is theirs alone.
func (a *alarms) start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.runs = true
	return a.arm()
}

// set has cause k be due at t; zero: never. It does not block, and calls the connection only where the reader must wake
// earlier than it would: a deadline that comes too early costs it one look at the clock.
func (a *alarms) set(k cause, t time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at[k] = t
	return a.arm()
}

// passed reports whether the time of cause k has come, due or not yet.
func (a *alarms) passed(k cause, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.at[k].IsZero() && !now.Before(a.at[k])
}

// got notes that the reader's read has brought bytes.
func (a *alarms) got() { a.found = true }

// rang takes the failure of a read whose deadline has passed, and returns the causes that are due. They are off then:
// who wants another alarm sets it. None: the reader reads on.
func (a *alarms) rang(now time.Time) (due causes, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, t := range a.at {
		if !t.IsZero() && !now.Before(t) {
			due |= 1 << k
		}
	}
	again := a.look.IsZero() || a.found && now.Sub(a.since) < a.patience
	a.look, a.found = time.Time{}, false
	switch {
	case due == 0:
		a.since = time.Time{}
	case again:
		if a.since.IsZero() {
			a.since = now
		}
		a.look = now.Add(lastLook)
		due = 0
	default:
		a.since = time.Time{}
		for k := range a.at {
			if due.has(cause(k)) {
				a.at[k] = time.Time{}
			}
		}
	}
	return due, a.put(a.earliest()) // in any case: the one that has passed fails every read
}

// earliest is when the reader must wake. The caller holds mu.
func (a *alarms) earliest() (first time.Time) {
	if !a.look.IsZero() {
		return a.look // whatever comes earlier is looked at then
	}
	for _, t := range a.at {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// arm has the reader wake in time. The caller holds mu.
func (a *alarms) arm() error {
	first := a.earliest()
	if !a.runs || first.IsZero() || !a.force.IsZero() && !first.Before(a.force) {
		return nil
	}
	return a.put(first)
}

// put puts a deadline in force. The caller holds mu.
func (a *alarms) put(t time.Time) error {
	a.force = t
	return a.deadline(t)
}
