package bridge

import (
	"fmt"
	"math"
	"strings"
	"time"

	"telnetcpc/bridge/uart"
)

// Connect is when a session is wanted.
type Connect string

const (
	ConnectOnOpen Connect = "on-open" // while an application has the port open or its bytes wait, and for Linger after that
	ConnectAlways Connect = "always"  // from Run to its end
)

// OnLoss is what the application sees after a session is lost, until the next one is up.
type OnLoss string

const (
	OnLossHold    OnLoss = "hold"    // writes are held for HoldFor, and block once the buffer is full
	OnLossDiscard OnLoss = "discard" // writes succeed, the bytes are dropped and counted
	OnLossHangup  OnLoss = "hangup"  // the port vanishes as an unplugged USB adapter does, and comes back
)

// DCD is where the port's DCD comes from.
type DCD string

const (
	DCDDevice DCD = "device" // the device's line; it keeps its state when a session is lost
	DCDLink   DCD = "link"   // on while a session is up
)

// ParseConnect reads a Connect; empty is the default.
func ParseConnect(s string) (Connect, error) {
	return oneOf("connect", s, ConnectOnOpen, ConnectAlways)
}

// ParseOnLoss reads an OnLoss; empty is the default.
func ParseOnLoss(s string) (OnLoss, error) {
	return oneOf("on-loss", s, OnLossHold, OnLossDiscard, OnLossHangup)
}

// ParseDCD reads a DCD; empty is the default.
func ParseDCD(s string) (DCD, error) { return oneOf("dcd", s, DCDDevice, DCDLink) }

// oneOf returns s if it is one of the values, and the first of them if s is empty.
func oneOf[T ~string](what, s string, values ...T) (T, error) {
	if s == "" {
		return values[0], nil
	}
	words := make([]string, len(values))
	for i, v := range values {
		if string(v) == s {
			return v, nil
		}
		words[i] = string(v)
	}
	return "", fmt.Errorf("%s %q: want %s", what, s, strings.Join(words, ", "))
}

// Policy is how one port behaves. An empty string and a nil duration mean the default; a duration of zero is a value.
type Policy struct {
	Connect Connect
	OnLoss  OnLoss
	DCD     DCD

	// Linger is how long a session outlives the last close under on-open; 0: it ends with the close. nil: DefaultLinger,
	// and without limit if the last program has left DTR on (HUPCL off), because the end of a session turns DTR off.
	Linger *time.Duration

	// HoldFor applies to OnLossHold. It limits how much older than the newest byte a held byte may be when a session comes
	// up, and how long the bytes of a closed port wait for a session. 0: nothing is held. nil: DefaultHoldFor. Forever: no
	// limit.
	HoldFor *time.Duration

	// OpenWait limits how long an application's open waits for the session, on hosts that can make it wait; 0: it does not
	// wait. nil: DefaultOpenWait.
	OpenWait *time.Duration

	// Coding and Flow override what the application requests, field by field; unset fields are the application's.
	Coding uart.Coding
	Flow   uart.Flow
}

// DefaultLinger is long enough for a program that opens and closes in a loop, and short enough for a server that serves
// only one client.
const DefaultLinger = 2 * time.Second

// DefaultOpenWait is long enough for a session with a server on the same continent, short enough for a program that
// opens a port in the thread of its window.
const DefaultOpenWait = 2 * time.Second

// DefaultHoldFor is short enough that no command arrives after its sender has given up on it, and long enough that the
// last request of a polling program survives.
const DefaultHoldFor = time.Second

// Forever is the HoldFor that holds what was written without a time limit.
const Forever = time.Duration(math.MaxInt64)

func (p Policy) withDefaults() Policy {
	if p.Connect == "" {
		p.Connect = ConnectOnOpen
	}
	if p.OnLoss == "" {
		p.OnLoss = OnLossHold
	}
	if p.DCD == "" {
		p.DCD = DCDDevice
	}
	for _, d := range []struct {
		at   **time.Duration
		when time.Duration
	}{{&p.Linger, DefaultLinger}, {&p.HoldFor, DefaultHoldFor}, {&p.OpenWait, DefaultOpenWait}} {
		if *d.at == nil {
			*d.at = &d.when
		}
	}
	return p
}
