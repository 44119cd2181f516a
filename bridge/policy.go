package bridge

import (
	"fmt"
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

// Policy is how one port behaves. The zero value of each field means its default.
type Policy struct {
	Connect Connect
	Linger  time.Duration // how long a session outlives the last close under on-open; default 2 s
	OnLoss  OnLoss
	HoldFor time.Duration // under hold: how long before it becomes discard; 0: never
	DCD     DCD

	// OpenWait is how long an application's open waits for the session at most, on hosts that can make it wait; 0: it
	// does not wait.
	OpenWait time.Duration

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
	if p.Linger == 0 {
		p.Linger = DefaultLinger
	}
	return p
}
