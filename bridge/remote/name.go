package remote

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// NameTrouble explains why the lookup of a host name failed, and what to do; it distinguishes a name that does not exist
// from a name server that does not answer. It returns "" if err is not a failed lookup, and the same text each time for
// the same cause.
func NameTrouble(err error, host string) string {
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return ""
	}
	switch {
	case dns.IsNotFound:
		return fmt.Sprintf("unknown host %q (is the name spelt right?)", host)
	case dns.IsTimeout:
		return fmt.Sprintf("host %q cannot be looked up: the name server does not answer (is the network up?)", host)
	case dns.IsTemporary: // its text contains our own port number, or adds nothing
		return fmt.Sprintf("host %q cannot be looked up now: the name server is unreachable or fails (is the network up? an IP address needs no name server)", host)
	}
	return fmt.Sprintf("host %q cannot be looked up: %s (does the name server of this machine know it? an IP address needs none)", host, dns.Err)
}

// zoneTrouble explains what is wrong with the zone of an address that could not be dialed; "" if nothing is. The system's
// error is only "invalid argument".
func zoneTrouble(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.IsLinkLocalUnicast() || addr.Is4() {
		return ""
	}
	zone := addr.Zone()
	if zone == "" {
		return fmt.Sprintf("%s exists on every link: say which one (its interface after a %%, as in %s%%eth0)", host, host)
	}
	all, err := net.Interfaces()
	if err != nil {
		return "" // unknown
	}
	for _, i := range all {
		if zone == i.Name || zone == strconv.Itoa(i.Index) {
			return ""
		}
	}
	return fmt.Sprintf("this machine has no interface %q (the zone of %s)", zone, host)
}
