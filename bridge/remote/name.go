package remote

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// NameTrouble says why a host's name could not be looked up, in a few words with the way out: a name that does not exist
// is another trouble than a name server that is not there. It is empty where err is something else. The text of one
// trouble is the same each time.
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
	case dns.IsTemporary: // its text has a port of ours, or says nothing more
		return fmt.Sprintf("host %q cannot be looked up now: the name server is not reached or fails (is the network up? an IP address needs no name server)", host)
	}
	return fmt.Sprintf("host %q cannot be looked up: %s (does the name server of this machine know it? an IP address needs none)", host, dns.Err)
}

// zoneTrouble says what is wrong with the zone of an address that could not be dialed; systems say no more than "invalid
// argument".
func zoneTrouble(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.IsLinkLocalUnicast() || addr.Is4() {
		return ""
	}
	zone := addr.Zone()
	if zone == "" {
		return fmt.Sprintf("%s is on every link: say which (its interface behind a %%, as in %s%%eth0)", host, host)
	}
	all, err := net.Interfaces()
	if err != nil {
		return "" // not known
	}
	for _, i := range all {
		if zone == i.Name || zone == strconv.Itoa(i.Index) {
			return ""
		}
	}
	return fmt.Sprintf("this machine has no interface %q, as %s says", zone, host)
}
