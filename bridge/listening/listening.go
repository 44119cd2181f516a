// Package listening says who listens on a TCP port of this machine, as ss -tlnp, lsof and netstat -ano do: address,
// process, user. It knows no protocol and does not ask the listeners themselves what they are.
package listening

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
)

// Listener is a process that listens at an address. A socket that several processes hold is several Listeners.
type Listener struct {
	// Address is where it listens. 0.0.0.0 is every IPv4 address of this machine; :: is every IPv6 address, and every
	// IPv4 address too unless the program has said otherwise.
	Address netip.AddrPort
	// PID is 0 where the system does not show it to this user; Hidden says why.
	PID int
	// Process is the program's name, which the process may have chosen: escape it before it is printed. Linux cuts it to
	// 15 bytes. Empty: not visible.
	Process string
	// User is a name, or a number that has no name. Empty: not visible.
	User string
}

// On returns who listens on a TCP port, at any local address, sorted by address and process; none is no error. The error
// is one line that says what could not be read. Where the system shows users their own processes alone (macOS), it
// connects to the loopback addresses, once each, to find listeners that it cannot see. May be called by anyone.
func On(ctx context.Context, port uint16) ([]Listener, error) {
	all, err := list(ctx, port)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Listener) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.PID, b.PID))
	})
	return slices.Compact(all), nil
}

// Reach is where a program of this machine reaches the listener: the loopback address where it listens at all of them.
func (l Listener) Reach() netip.AddrPort {
	at := l.Address.Addr()
	switch {
	case at == netip.IPv4Unspecified():
		at = loopback4
	case at.WithZone("") == netip.IPv6Unspecified():
		at = loopback6
		if !has(loopback6) { // IPv6 is off, as in many containers: then only IPv4 can reach it
			at = loopback4
		}
	}
	return netip.AddrPortFrom(at, l.Address.Port())
}

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// has reports whether an address is one of this machine.
func has(a netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(all, func(one net.Addr) bool {
		p, err := netip.ParsePrefix(one.String())
		return err == nil && p.Addr() == a
	})
}

// Hidden says what to do to see a process that is not visible.
func Hidden() string {
	switch os.Geteuid() {
	case -1: // Windows
		return "run as administrator"
	case 0:
		return "it is in another container, or the kernel's own"
	}
	return "run as root"
}
