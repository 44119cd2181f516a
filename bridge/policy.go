package bridge

import (
	"fmt"
	"math"
	"strings"
	"time"

	"telnetcpc/bridge/uart"
)

// Connect says when a session exists.
type Connect string

const (
	ConnectOnOpen Connect = "on-open" // while the application has the port open or bytes of it wait, and Linger after
	ConnectAlways Connect = "always"
)

// OnLoss says what the application sees while a lost session is away.
type OnLoss string

const (
	OnLossHold    OnLoss = "hold"    // writes block once the small buffers are full; nothing is lost here
	OnLossDiscard OnLoss = "discard" // writes succeed, the bytes are counted and gone
	OnLossHangup  OnLoss = "hangup"  // the port goes as an unplugged USB adapter does, and comes back
)

// DCD says where the port's DCD comes from.
type DCD string

const (
	DCDDevice DCD = "device" // the device's line, kept through a loss
	DCDLink   DCD = "link"   // on while a session stands
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

// oneOf returns s as one of the values, the first for an empty s.
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

// Policy is how one port behaves. An empty word and a nil time mean the default; a time of zero is a value.
type Policy struct {
	Connect Connect
	OnLoss  OnLoss
	DCD     DCD

	// Linger is how long a session outlives the last close under on-open; 0: it ends with it. nil: DefaultLinger, and
	// as long as the last program has left DTR up (HUPCL off): the end of a session lets DTR fall.
	Linger *time.Duration

	// HoldFor is, under hold, how old held bytes may be, counted back from the newest one, when a session comes; also
	// how long the bytes of a closed port wait for one. 0: nothing is held. nil: DefaultHoldFor. Forever: no bound.
	HoldFor *time.Duration

	// OpenWait is how long an application's open waits for the session at most, on hosts that can make it wait; 0: it
	// does not wait. nil: DefaultOpenWait.
	OpenWait *time.Duration

	// Coding and Flow override what the application asks for, field by field; what is not said is the
	// application's.
	Coding uart.Coding
	Flow   uart.Flow
}

// DefaultLinger is long enough for a program that opens and closes in a loop, short enough for a server that serves
// one client only.
const DefaultLinger = 2 * time.Second

// DefaultOpenWait is long enough for a session with a server on the same continent, short enough for a program that
// opens a port in the thread of its window.
const DefaultOpenWait = 2 * time.Second

// DefaultHoldFor is short enough for no command to come when its sender has long given it up, long enough for the last
// question of a program that polls to survive.
const DefaultHoldFor = time.Second

// Forever as HoldFor keeps what was written, however old.
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
