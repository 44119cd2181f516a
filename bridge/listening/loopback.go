package listening

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"
)

// dialTimeout is how long a loopback address may take to answer: the kernel does it alone.
const dialTimeout = time.Second

// unseen returns the listeners that a list lacks because the system shows a user only his own processes: whoever answers
// at a loopback address that nobody on the list has. It connects and hangs up.
func unseen(ctx context.Context, port uint16, seen []Listener) []Listener {
	var all []Listener
	dialer := net.Dialer{Timeout: dialTimeout}
	for _, at := range []netip.Addr{loopback4, loopback6} {
		if slices.ContainsFunc(seen, func(l Listener) bool { return l.takes(at) }) {
			continue
		}
		address := netip.AddrPortFrom(at, port)
		conn, err := dialer.DialContext(ctx, "tcp", address.String())
		if err != nil {
			continue
		}
		_ = conn.Close() // nothing was said
		all = append(all, Listener{Address: address})
	}
	return all
}

// takes reports whether connections to an address may be this listener's.
func (l Listener) takes(at netip.Addr) bool {
	own := l.Address.Addr()
	return own == at || own == netip.IPv6Unspecified() || own == netip.IPv4Unspecified() && at.Is4()
}
