package listening

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"
)

// dialTimeout bounds a connect to a loopback address, which the kernel completes without the listener.
const dialTimeout = time.Second

// unseen returns the listeners that are missing in a list because the system shows a user only his own processes: those
// that accept a connection at a loopback address that no listener in the list covers. It connects and hangs up.
func unseen(ctx context.Context, port uint16, seen []Listener) []Listener {
	var all []Listener
	dialer := net.Dialer{Timeout: dialTimeout}
	for _, at := range []netip.Addr{loopback4, loopback6} {
		if slices.ContainsFunc(seen, func(l Listener) bool { return l.accepts(at) }) {
			continue
		}
		address := netip.AddrPortFrom(at, port)
		conn, err := dialer.DialContext(ctx, "tcp", address.String())
		if err != nil {
			continue
		}
		_ = conn.Close() // what matters is only that it connects
		all = append(all, Listener{Address: address})
	}
	return all
}

// accepts reports whether a connection to an address may reach this listener.
func (l Listener) accepts(at netip.Addr) bool {
	own := l.Address.Addr()
	return own == at || own == netip.IPv6Unspecified() || own == netip.IPv4Unspecified() && at.Is4()
}
