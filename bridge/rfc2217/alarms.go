package rfc2217

import (
	"sync"
	"time"
)

// cause is one reason for the reader to stop waiting for the peer at a certain time.
type cause uint8

const (
	ackDue      cause = iota // a setting is unconfirmed for too long; set by writer and reader
	greetingDue              // no answer has followed held data, so it is the device's; set by writer and reader
	ffSilence                // nothing has followed a 255 that may be data; set by the reader
	numCauses
)

// causes is a set of causes.
type causes uint8

// has reports whether k is in the set.
func (s causes) has(k cause) bool { return s&(1<<k) != 0 }

// recheckTime is how long the reader reads on, for bytes that have already arrived, before a cause counts as due.
const recheckTime = 20 * time.Millisecond

// alarms shares the one read deadline of a connection between several causes: it is the earliest of their times. A read
// that fails with os.ErrDeadlineExceeded has not checked the socket: if the reader was busy before, what it waits for may
// have arrived. So the reader calls expired, which lets it read once more: the recheck. A cause is due only after a
// recheck that finds nothing. A peer that never stops sending delays this by patience at most.
//
// set may be called from any goroutine, sawBytes and expired by the reader alone, start once before there is a reader.
type alarms struct {
	deadline func(time.Time) error // the connection's SetReadDeadline, which does not block
	patience time.Duration         // constant

	gotBytes bool // bytes have come since the recheck began; the reader's alone

	mu           sync.Mutex           // serialises changes of the fields below and the calls of deadline
	running      bool                 // start was called; before that the deadline is the opening's
	at           [numCauses]time.Time // zero: not set
	armed        time.Time            // the connection's deadline; not later than any time in at
	recheck      time.Time            // when the present recheck ends; zero: there is none
	recheckSince time.Time            // when the first of several rechecks in a row began; zero: there was none
}

// start takes over the read deadline of the connection, which must be unset.
func (a *alarms) start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = true
	return a.arm()
}

// set sets when cause k is due; zero: never. It does not block. It changes the connection's deadline only if the reader
// must wake earlier than it would: waking too early costs one reading of the clock.
func (a *alarms) set(k cause, t time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at[k] = t
	return a.arm()
}

// passed reports whether the time of cause k has come, whether or not a recheck has made it due.
func (a *alarms) passed(k cause, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.at[k].IsZero() && !now.Before(a.at[k])
}

// sawBytes notes that a read has returned bytes.
func (a *alarms) sawBytes() { a.gotBytes = true }

// expired is called when a read has failed because the deadline has passed. It returns the causes that are due, and unsets
// them. If there is none, the reader reads on.
func (a *alarms) expired(now time.Time) (due causes, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, t := range a.at {
		if !t.IsZero() && !now.Before(t) {
			due |= 1 << k
		}
	}
	again := a.recheck.IsZero() || a.gotBytes && now.Sub(a.recheckSince) < a.patience
	a.recheck, a.gotBytes = time.Time{}, false
	switch {
	case due == 0:
		a.recheckSince = time.Time{}
	case again:
		if a.recheckSince.IsZero() {
			a.recheckSince = now
		}
		a.recheck = now.Add(recheckTime)
		due = 0
	default:
		a.recheckSince = time.Time{}
		for k := range a.at {
			if due.has(cause(k)) {
				a.at[k] = time.Time{}
			}
		}
	}
	return due, a.setDeadline(a.earliest()) // always: a deadline in the past fails every read
}

// earliest returns when the reader must wake. The caller holds mu.
func (a *alarms) earliest() (first time.Time) {
	if !a.recheck.IsZero() {
		return a.recheck // causes that are due earlier wait for its end
	}
	for _, t := range a.at {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// arm moves the deadline forward if the reader would wake too late. The caller holds mu.
func (a *alarms) arm() error {
	first := a.earliest()
	if !a.running || first.IsZero() || !a.armed.IsZero() && !first.Before(a.armed) {
		return nil
	}
	return a.setDeadline(first)
}

// setDeadline sets the connection's deadline. The caller holds mu.
func (a *alarms) setDeadline(t time.Time) error {
	a.armed = t
	return a.deadline(t)
}
