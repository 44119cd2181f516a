package remote

import (
	"errors"
	"fmt"
	"net"
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
