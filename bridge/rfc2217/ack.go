package rfc2217

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"telnetcpc/bridge/uart"
)

// field is one setting that a server confirms separately.
type field uint8

const (
	baud field = iota
	dataBits
	parity
	stopBits
	outFlow
	inFlow
	dtr
	rts
	numFields
)

// get returns the field's value in an event; 0: unset.
func (f field) get(e uart.Event) uint32 {
	switch f {
	case baud:
		return e.Coding.Baud
	case dataBits:
		return uint32(e.Coding.DataBits)
	case parity:
		return uint32(e.Coding.Parity)
	case stopBits:
		return uint32(e.Coding.StopBits)
	case outFlow:
		return uint32(e.Flow.Out)
	case inFlow:
		return uint32(e.Flow.In)
	case dtr:
		return uint32(e.Control.DTR)
	case rts:
		return uint32(e.Control.RTS)
	}
	return 0
}

// put sets the field of an event.
func (f field) put(e *uart.Event, v uint32) {
	switch f {
	case baud:
		e.Coding.Baud = v
	case dataBits:
		e.Coding.DataBits = uint8(v)
	case parity:
		e.Coding.Parity = uart.Parity(v)
	case stopBits:
		e.Coding.StopBits = uart.StopBits(v)
	case outFlow:
		e.Flow.Out = uart.FlowMethod(v)
	case inFlow:
		e.Flow.In = uart.FlowMethod(v)
	case dtr:
		e.Control.DTR = uart.Level(v)
	case rts:
		e.Control.RTS = uart.Level(v)
	}
}

// text returns a value of the field for logs and events: "9600", "parity even".
func (f field) text(v uint32) string {
	e := uart.Event{Kind: uart.KindSettings}
	f.put(&e, v)
	switch f {
	case dataBits:
		return strconv.Itoa(int(v)) + " data bits"
	case parity:
		return "parity " + e.Coding.Parity.String()
	case stopBits:
		return e.Coding.StopBits.String() + " stop bits"
	case outFlow, inFlow:
		return uart.FlowMethod(v).String()
	}
	return strings.TrimPrefix(e.String(), "settings ")
}

// ack is the state of one field.
type ack struct {
	pending         uint32    // the requested value whose answer is outstanding; 0: none
	due             time.Time // when pending is reported as unconfirmed
	answered        uint32    // the latest answer since the request that differs from pending; 0: none
	silenceReported bool      // it was reported once that this field gets no answer

	requested   uint32    // the value that was requested last, confirmed or not; 0: none ever
	reported    uint32    // the value other than requested that was last reported to the caller; 0: none since the request
	ignoreUntil time.Time // until then an answer may be a late or repeated answer to a request
}

// acks tracks which settings a server has confirmed. Answers cannot be matched by value, count or order: servers answer
// late, once for several requests, or in another order. So each field keeps the requested value and the latest answer.
// The field is confirmed when they are equal, and reported as not confirmed after timeout.
//
// An unsolicited answer with another value means that another client or a user has changed the port at the server. That
// is assumed for the line coding only. What servers answer about flow control and lines is unreliable even after a
// request: sredird answers DTR and RTS with its flow control, ser2net the end of a break with its beginning.
type acks struct {
	timeout time.Duration         // constant
	wake    func(time.Time) error // sets when the reader must call expire; zero: never. It does not block. Constant

	// mu serialises requests (the writer's), answers and expiry (the reader's), and the calls of wake. It is taken before the
	// mutex of the alarms.
	mu     sync.Mutex
	fields [numFields]ack
	both   bool // the last requested outbound flow control applies to both directions
}

// request records the settings that are being requested. Break is left out: it is momentary, and servers answer it with
// arbitrary values.
func (a *acks) request(e uart.Event, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.Flow.Out != 0 {
		a.both = e.Flow.In == e.Flow.Out
	}
	for f := range numFields {
		v := f.get(e)
		if f == inFlow && e.Flow.In == e.Flow.Out && v != 0 {
			v = 0 // not sent: the outbound value sets both directions
			a.fields[f].pending = 0
		}
		if v != 0 {
			k := &a.fields[f]
			k.pending, k.answered, k.due = v, 0, now.Add(a.timeout)
			k.requested, k.reported = v, 0
		}
	}
	return a.wake(a.nextDue())
}

// nextDue returns when the first pending field is due; zero: none is pending. The caller holds mu.
func (a *acks) nextDue() (first time.Time) {
	for _, k := range a.fields {
		if k.pending != 0 && (first.IsZero() || k.due.Before(first)) {
			first = k.due
		}
	}
	return first
}

// answered records a value that the server reports. changed is the part of the line coding that the server has changed
// unasked: to a value that was not requested, or back to the requested one.
func (a *acks) answered(c Command, now time.Time) (changed uart.Coding, err error) {
	e := c.Setting()
	unrequested := uart.Event{Kind: uart.KindChanged}
	confirmed := false
	a.mu.Lock()
	defer a.mu.Unlock()
	for f := range numFields {
		k := &a.fields[f]
		v := f.get(e)
		switch {
		case v == 0:
		case v == k.pending:
			k.pending, k.ignoreUntil = 0, now.Add(a.timeout)
			confirmed = true
		case k.pending != 0:
			k.answered = v
		case f <= stopBits && k.unsolicited(v, now):
			f.put(&unrequested, v)
		}
	}
	if confirmed {
		err = a.wake(a.nextDue()) // cancels the wake for this field
	}
	return unrequested.Coding, err
}

// anyRequested reports whether anything was ever requested.
func (a *acks) anyRequested() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for f := range a.fields {
		if a.fields[f].requested != 0 {
			return true
		}
	}
	return false
}

// unsolicited records an answer that no request is pending for, and reports whether the caller must be given it as a
// change.
func (k *ack) unsolicited(v uint32, now time.Time) bool {
	switch {
	case v == k.requested:
		back := k.reported != 0
		k.reported = 0
		return back
	case k.requested == 0, v == k.reported, now.Before(k.ignoreUntil):
		return false
	}
	k.reported = v
	return true
}

// expire returns events for the fields whose time is up: one for each field that was answered with another value, and one
// for all fields together that were not answered, each of which is reported only once.
func (a *acks) expire(now time.Time) (events []uart.Event, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	silent := uart.Event{Kind: uart.KindRefused}
	any := false
	for f := range numFields {
		k := &a.fields[f]
		if k.pending == 0 || now.Before(k.due) {
			continue
		}
		switch {
		case k.answered != 0:
			e := uart.Event{Kind: uart.KindRefused, Answer: f.text(k.answered)}
			a.putRequest(&e, f, k.pending)
			events = append(events, e)
		case !k.silenceReported:
			k.silenceReported, any = true, true
			a.putRequest(&silent, f, k.pending)
		}
		k.pending, k.reported, k.ignoreUntil = 0, k.answered, now.Add(a.timeout)
	}
	if any {
		events = append(events, silent)
	}
	return events, a.wake(a.nextDue())
}

// putRequest sets the requested value in an event that reports it. The caller holds mu.
func (a *acks) putRequest(e *uart.Event, f field, v uint32) {
	f.put(e, v)
	if f == outFlow && a.both {
		e.Flow.In = e.Flow.Out
	}
}
