// Package listening lists the processes that listen on a TCP port of this machine, as ss -tlnp, lsof and netstat -ano do:
// address, process and user. It knows no protocol and does not identify the service; package probe, its caller, does.
//
// Why not a library: gopsutil (v4.26.10) reports one process of a socket that several hold, does not report the user of
// a listener whose process it cannot see (Linux), and needs lsof on FreeBSD, whose base system has sockstat instead.
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
	// Address is the address at which it listens. 0.0.0.0 is every IPv4 address of this machine; :: is every IPv6 address,
	// and every IPv4 address too unless the program has set IPV6_V6ONLY.
	Address netip.AddrPort
	// PID is 0 if the system does not show it to this user; see Hidden.
	PID int
	// Process is the program's name, which the process may have chosen: escape it before you print it. Linux cuts it to
	// 15 bytes. Empty: not visible.
	Process string
	// User is a name, or a number if the user has no name. Empty: not visible.
	User string
}

// On returns the listeners on a TCP port, at any local address, sorted by address and process; an empty list is no error.
// The error is one line that names what could not be read. On systems that show users only their own processes (macOS),
// On connects to each loopback address once, to find listeners that it cannot see. Safe for concurrent use.
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

// Reach returns the address at which a program on this machine reaches the listener: for one that listens at every
// address, the loopback address.
func (l Listener) Reach() netip.AddrPort {
	at := l.Address.Addr()
	switch {
	case at == netip.IPv4Unspecified():
		at = loopback4
	case at.WithZone("") == netip.IPv6Unspecified():
		at = loopback6
		if !isLocal(loopback6) { // IPv6 is off, as in many containers
			at = loopback4
		}
	}
	return netip.AddrPortFrom(at, l.Address.Port())
}

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// isLocal reports whether an address belongs to this machine; true if that is unknown.
func isLocal(a netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(all, func(one net.Addr) bool {
		p, err := netip.ParsePrefix(one.String())
		return err == nil && p.Addr() == a
	})
}

// Hidden returns what to do, or what to know, if the process of a listener is not visible to this user.
func Hidden() string {
	switch os.Geteuid() {
	case -1: // Windows
		return "run as administrator"
	case 0:
		return "it is in another container, or the kernel's own"
	}
	return "run as root"
}
