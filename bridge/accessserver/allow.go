package accessserver

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Range is a network or one address that clients may connect from. The zero value contains no address. IPv4 addresses mapped to
// IPv6 (::ffff:10.0.0.5) count as IPv4.
type Range struct {
	prefix netip.Prefix // masked, without a zone
	zone   string       // of a link-local address; empty: any
}

// linkLocal are the only addresses that have a zone.
var linkLocal = netip.MustParsePrefix("fe80::/10")

// ParseRange reads an address, 10.0.0.5, fd00::5 or fe80::1%eth0, or a network, 192.168.1.0/24, fd00::/8 or
// fe80::%eth0/64 (RFC 4007, 11.7). Only link-local addresses may have a zone. The error says what is accepted.
func ParseRange(s string) (Range, error) {
	bad := fmt.Errorf("%q: want an address or a network, as in 10.0.0.5, 192.168.1.0/24, fd00::/8 or fe80::1%%eth0", s)
	text, bits, network := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return Range{}, bad
	}
	zone := addr.Zone()
	addr = addr.WithZone("")
	prefix := netip.PrefixFrom(addr, addr.BitLen())
	if network {
		if prefix, err = netip.ParsePrefix(addr.String() + "/" + bits); err != nil {
			return Range{}, bad
		}
	}
	if zone != "" && (prefix.Bits() < linkLocal.Bits() || !linkLocal.Contains(addr)) {
		return Range{}, bad
	}
	if addr.Is4In6() {
		const mapped = 96 // ::ffff:0:0/96 is all of IPv4 (RFC 4291, 2.5.5.2)
		if prefix.Bits() < mapped {
			return Range{}, bad
		}
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-mapped)
	}
	return Range{prefix.Masked(), zone}, nil
}

// String writes the range as ParseRange reads it.
func (r Range) String() string {
	addr := r.prefix.Addr().WithZone(r.zone).String()
	if r.prefix.IsSingleIP() {
		return addr
	}
	return fmt.Sprintf("%s/%d", addr, r.prefix.Bits())
}

// Contains reports whether an address is in the range. A range without a zone contains addresses of every zone.
func (r Range) Contains(a netip.Addr) bool {
	a = a.Unmap()
	return r.prefix.Contains(a.WithZone("")) && (r.zone == "" || r.zone == a.Zone())
}

// allowed reports whether Config.Allow has the address of a client.
func (s *Server) allowed(conn net.Conn) bool {
	if len(s.cfg.Allow) == 0 {
		return true
	}
	peer, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && slices.ContainsFunc(s.cfg.Allow, func(r Range) bool { return r.Contains(peer.AddrPort().Addr()) })
}
