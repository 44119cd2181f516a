package rfc2217

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"telnetcpc/bridge/uart"
)

// field is one setting that a server answers for by itself.
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

// get returns the field's value in an event; 0: not said.
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

// put puts a value into the field of an event.
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

// word is a value of the field as a person reads it.
func (f field) word(v uint32) string {
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

// ack is what is known of one field.
type ack struct {
	asked   uint32    // 0: nothing is waited for
	due     time.Time // when it is
	answer  uint32    // the latest since asked; 0: none
	unheard bool      // it was once said that this field is not answered

	told  uint32    // what was asked for last, waited for or not; 0: nothing ever
	shown uint32    // what the server was last reported to have in force instead; 0: nothing, or what was told
	quiet time.Time // until then an answer may be one to a question: late, or given again
}

// acks know which settings a server has confirmed. Answers cannot be matched by value, count or order: servers answer
// late, once for several, or in another order. So of each field it keeps what is asked for and the latest answer; it is
// settled when they agree, or reported when the time is up.
//
// An answer that nobody waits for is news when it says something else: somebody has changed the port at the server. That
// holds for line coding alone. What servers say of flow control and lines is no answer even when they are asked: sredird
// answers DTR and RTS with its flow control, ser2net the end of a break with its beginning.
type acks struct {
	timeout time.Duration
	wake    func(time.Time) error // sets when the reader must call expire; zero: never. It does not block

	mu     sync.Mutex // over fields and the calls of wake, and outside the alarms' own: the writer asks, the reader answers and reports
	fields [numFields]ack
	both   bool // the outbound flow control that was asked for last is meant for both directions
}

// ask notes what an event asks for. Break is not waited for: it is a moment, and servers answer it with anything.
func (a *acks) ask(e uart.Event, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.Flow.Out != 0 {
		a.both = e.Flow.In == e.Flow.Out
	}
	for f := range numFields {
		v := f.get(e)
		if f == inFlow && e.Flow.In == e.Flow.Out && v != 0 {
			v = 0 // not sent: the outbound value sets both
			a.fields[f].asked = 0
		}
		if v != 0 {
			k := &a.fields[f]
			k.asked, k.answer, k.due = v, 0, now.Add(a.timeout)
			k.told, k.shown = v, 0
		}
	}
	return a.wake(a.next())
}

// next is when the first field that waits is due. The caller holds mu.
func (a *acks) next() (first time.Time) {
	for _, k := range a.fields {
		if k.asked != 0 && (first.IsZero() || k.due.Before(first)) {
			first = k.due
		}
	}
	return first
}

// answer takes what the server says is in force. It returns what is news about that: a coding that nobody asked for, or
// the one that was asked for, in force again.
func (a *acks) answer(c Command, now time.Time) (news uart.Coding, err error) {
	e := c.Setting()
	changed := uart.Event{Kind: uart.KindChanged}
	settled := false
	a.mu.Lock()
	defer a.mu.Unlock()
	for f := range numFields {
		k := &a.fields[f]
		v := f.get(e)
		switch {
		case v == 0:
		case v == k.asked:
			k.asked, k.quiet = 0, now.Add(a.timeout)
			settled = true
		case k.asked != 0:
			k.answer = v
		case f <= stopBits && k.unasked(v, now):
			f.put(&changed, v)
		}
	}
	if settled {
		err = a.wake(a.next()) // nobody is to look for what is there
	}
	return changed.Coding, err
}

// any reports whether anything was ever asked for.
func (a *acks) any() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for f := range a.fields {
		if a.fields[f].told != 0 {
			return true
		}
	}
	return false
}

// unasked takes an answer that no question waits for, and reports whether it is news.
func (k *ack) unasked(v uint32, now time.Time) bool {
	switch {
	case v == k.told:
		back := k.shown != 0
		k.shown = 0
		return back
	case k.told == 0, v == k.shown, now.Before(k.quiet):
		return false
	}
	k.shown = v
	return true
}

// expire returns a refused event for each field whose time is up: one of its own for a field that was answered with
// another value, one in common for those that were not answered, which is said once of each.
func (a *acks) expire(now time.Time) (events []uart.Event, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	silent := uart.Event{Kind: uart.KindRefused}
	any := false
	for f := range numFields {
		k := &a.fields[f]
		if k.asked == 0 || now.Before(k.due) {
			continue
		}
		switch {
		case k.answer != 0:
			e := uart.Event{Kind: uart.KindRefused, Answer: f.word(k.answer)}
			a.put(&e, f, k.asked)
			events = append(events, e)
		case !k.unheard:
			k.unheard, any = true, true
			a.put(&silent, f, k.asked)
		}
		k.asked, k.shown, k.quiet = 0, k.answer, now.Add(a.timeout)
	}
	if any {
		events = append(events, silent)
	}
	return events, a.wake(a.next())
}

// put writes what was asked for into an event, as a person would say it. The caller holds mu.
func (a *acks) put(e *uart.Event, f field, v uint32) {
	f.put(e, v)
	if f == outFlow && a.both {
		e.Flow.In = e.Flow.Out
	}
}
