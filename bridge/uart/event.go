package uart

import (
	"fmt"
	"strings"
)

// Kind says what an Event is.
type Kind uint8

// The kinds that travel up, from the application to the device.
const (
	KindData     Kind = iota // no event: Next returned bytes
	KindOpened               // the first open of the port; Ready is set where the host can make open() wait
	KindClosed               // the last close
	KindSettings             // Coding, Flow, Control: what one call of the application changed
	KindPurge                // Purge
)

// The kinds that travel down, from the device to the application.
const (
	KindModem     Kind = iota + 16 // Modem
	KindLine                       // Line
	KindSuspended                  // the access server asks for no more data (FLOWCONTROL-SUSPEND)
	KindResumed                    // and takes data again (FLOWCONTROL-RESUME)
	KindMarked                     // Bytes: the access server has taken that many data bytes of this session from TCP
	KindRefused                    // Coding, Flow or Control: the one setting asked for; Answer: what was said instead
	KindChanged                    // Coding: what the access server says is in force now, though nobody here asked for it
	KindGreeting                   // Bytes, Answer: what the access server said of itself before it served us; it is dropped
)

var kindNames = map[Kind]string{
	KindData: "data", KindOpened: "opened", KindClosed: "closed", KindSettings: "settings", KindPurge: "purge",
	KindModem: "modem", KindLine: "line", KindSuspended: "suspended", KindResumed: "resumed", KindMarked: "marked",
	KindRefused: "refused", KindChanged: "changed", KindGreeting: "greeting",
}

// String returns the kind's word.
func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("%#x", uint8(k))
}

// Event is one thing that happened on a port or on a session, other than bytes. It is a plain value: Kind, and the
// fields that the kind uses; the others are zero. The same type travels both ways, so that log, capture and tests
// know one type.
type Event struct {
	Kind    Kind
	Coding  Coding
	Flow    Flow
	Control Control
	Purge   Purge
	Modem   ModemState
	Line    LineState
	Bytes   uint64 // KindMarked: data bytes of this session, before escaping; KindGreeting: bytes of data that were dropped

	// Answer is what the access server said, printable. To a refused setting; empty: nothing in time. As its greeting: the
	// first 64 bytes of it at most, quoted.
	Answer string

	// Ready, where set, is to be called exactly once when the session stands (nil) or could not be had (why): the
	// host lets the application's open() wait for it. It never blocks.
	Ready func(error)

	// Purges and Visits are what a host whose queue is full has merged into this event, so that calls of
	// PortConfig.Urgent and what Next returns can be counted against each other. Purges: further transmit purges, in a
	// KindPurge. Visits, in any kind: how many times, behind it, the port was closed and opened again, of which no other
	// event tells.
	Purges, Visits uint32
}

// String writes the event for a log: its kind, then what the kind carries.
func (e Event) String() string {
	parts := []string{e.Kind.String()}
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	switch e.Kind {
	case KindSettings, KindRefused, KindChanged:
		add(e.Coding.String())
		add(e.Flow.String())
		add(e.Control.String())
		if e.Kind == KindRefused {
			if e.Answer == "" {
				add("(no answer)")
			} else {
				add("(answer " + e.Answer + ")")
			}
		}
	case KindPurge:
		add(e.Purge.String())
	case KindModem:
		add(e.Modem.String())
	case KindLine:
		add(e.Line.String())
	case KindMarked:
		add(fmt.Sprint(e.Bytes))
	case KindGreeting:
		add(fmt.Sprint(e.Bytes))
		add(e.Answer)
	}
	return strings.Join(parts, " ")
}
