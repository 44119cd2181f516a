package rfc2217

import (
	"fmt"
	"strings"
)

// Quirks is a set of deviations from the RFC, or from what most access servers do, that a Client cannot detect safely: the
// user sets them. The zero value is none.
type Quirks uint8

const (
	// SuspendIgnore: the server sends FLOWCONTROL-SUSPEND and never RESUME, so the client keeps sending and reports
	// neither.
	SuspendIgnore Quirks = 1 << iota
	// SingleFF: the server sends a data byte 255 once, not doubled. A 255 that nothing follows for 20 to 50 ms is data.
	SingleFF
	// KeepGreeting: what the server sends before it first answers a setting or a mark is the device's. By default it is
	// dropped and reported as uart.KindGreeting.
	KeepGreeting
)

// Quirk describes one of the Quirks to a user.
type Quirk struct {
	Quirk Quirks // one bit
	Name  string // as the flag and the configuration have it
	Help  string // one clause: what it means, without a full stop
}

// quirks is the only list of the quirks: help, manual page, shell completion and the error of ParseQuirks are made from
// it.
var quirks = [...]Quirk{
	{SuspendIgnore, "suspend-ignore", "keep sending when the server asks for a pause"},
	{SingleFF, "single-ff", "the server does not double 0xFF (esp-link)"},
	{KeepGreeting, "keep-greeting", "what the server sends before its first answer, usually a banner, is data too"},
}

// AllQuirks returns all quirks, in the order of the manual. The caller owns the list.
func AllQuirks() []Quirk { return append([]Quirk(nil), quirks[:]...) }

// Has reports whether all of other are in the set.
func (q Quirks) Has(other Quirks) bool { return q&other == other }

// Names returns the names in the set; unknown bits come last, in hex.
func (q Quirks) Names() []string {
	var names []string
	for _, one := range quirks {
		if q.Has(one.Quirk) {
			names = append(names, one.Name)
		}
		q &^= one.Quirk
	}
	if q != 0 {
		names = append(names, fmt.Sprintf("%#x", uint8(q)))
	}
	return names
}

// String returns the names, separated by commas: "suspend-ignore, single-ff"; "none" for the empty set.
func (q Quirks) String() string {
	if q == 0 {
		return "none"
	}
	return strings.Join(q.Names(), ", ")
}

// ParseQuirks returns the set of the named quirks. The error quotes the unknown name and lists the known ones.
func ParseQuirks(names ...string) (Quirks, error) {
	var set Quirks
next:
	for _, name := range names {
		for _, one := range quirks {
			if name == one.Name {
				set |= one.Quirk
				continue next
			}
		}
		known := (SuspendIgnore | SingleFF | KeepGreeting).Names()
		last := len(known) - 1
		return 0, fmt.Errorf("%q: want %s or %s", name, strings.Join(known[:last], ", "), known[last])
	}
	return set, nil
}
