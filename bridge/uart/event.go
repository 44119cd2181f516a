package uart

import (
	"fmt"
	"strings"
)

// Kind is the kind of an Event.
type Kind uint8

// The kinds that travel up, from the application to the device.
const (
	KindData     Kind = iota // no event: Next returned bytes
	KindOpened               // the first open of the port; Ready is set if the host can make open() wait
	KindClosed               // the last close
	KindSettings             // Coding, Flow, Control: what one call of the application changed
	KindPurge                // Purge
)

// The kinds that travel down, from the device to the application.
const (
	KindModem     Kind = iota + 16 // Modem
	KindLine                       // Line
	KindSuspended                  // the access server asks for no more data (FLOWCONTROL-SUSPEND)
	KindResumed                    // the access server takes data again (FLOWCONTROL-RESUME)
	KindMarked                     // Bytes: the access server has taken that many data bytes of this session from TCP
	KindRefused                    // Coding, Flow or Control: the one setting refused; Answer: the access server's answer
	KindChanged                    // Coding: the access server's new coding, which this side has not requested
	KindGreeting                   // Bytes, Answer: what the access server sent before it began to serve; dropped
)

var kindNames = map[Kind]string{
	KindData: "data", KindOpened: "opened", KindClosed: "closed", KindSettings: "settings", KindPurge: "purge",
	KindModem: "modem", KindLine: "line", KindSuspended: "suspended", KindResumed: "resumed", KindMarked: "marked",
	KindRefused: "refused", KindChanged: "changed", KindGreeting: "greeting",
}

// String returns the kind's name; an unknown kind prints as a hex number.
func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("%#x", uint8(k))
}

// Event is one thing that happened on a port or a session, other than bytes: Kind, and the fields that the kind uses; the
// others are zero. It is a plain value. Both directions use the same type, so log, capture and tests handle one type.
type Event struct {
	Kind    Kind
	Coding  Coding
	Flow    Flow
	Control Control
	Purge   Purge
	Modem   ModemState
	Line    LineState
	Bytes   uint64 // KindMarked: data bytes of this session, before escaping; KindGreeting: bytes of data that were dropped

	// Answer is what the access server sent, printable. KindRefused: its answer to the setting; empty: none in time.
	// KindGreeting: at most the first 64 bytes, quoted.
	Answer string

	// Ready, if set, is called exactly once, when the session is up (nil) or the dial has failed (the reason): the host
	// makes the application's open() wait for it. It never blocks.
	Ready func(error)

	// Purges and Visits count what a host with a full queue has merged into this event, so that every call of
	// PortConfig.Urgent can be matched to a result of Next. Purges: further transmit purges, in a KindPurge. Visits, in
	// an event of any kind: how many times the port was closed and opened again after it without events of their own.
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
