package remote

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Scheme is the protocol that a URL asks for.
type Scheme string

const (
	SchemeRFC2217    Scheme = "rfc2217"     // RFC 2217 over TCP, port 3696
	SchemeRFC2217TLS Scheme = "rfc2217+tls" // RFC 2217 over TLS, port 3696
	SchemeTCP        Scheme = "tcp"         // raw bytes: no settings, no control lines
	SchemeTelnet     Scheme = "telnet"      // Telnet without COM-PORT-OPTION, port 23
)

var defaultPorts = map[Scheme]string{SchemeRFC2217: "3696", SchemeRFC2217TLS: "3696", SchemeTelnet: "23"}

// URL says where a remote is and how to speak to it.
type URL struct {
	Scheme Scheme
	Host   string // name or address, IPv6 without brackets
	Port   string // 1 to 65535
}

// String writes the URL as Parse reads it, the port always named.
func (u URL) String() string { return string(u.Scheme) + "://" + u.Address() }

// Address is host:port, as net.Dial takes it.
func (u URL) Address() string { return net.JoinHostPort(u.Host, u.Port) }

// Parse reads rfc2217://host[:3696], rfc2217+tls://host[:3696], tcp://host:port, telnet://host[:23], or a bare host
// or host:port, which means rfc2217. The error names what is wrong and what is accepted.
func Parse(s string) (URL, error) {
	if !strings.Contains(s, "://") {
		if a, err := netip.ParseAddr(s); err == nil && a.Is6() {
			s = "[" + s + "]"
		}
		return parse(s, string(SchemeRFC2217)+"://"+s)
	}
	return parse(s, s)
}

func parse(given, full string) (URL, error) {
	bad := func(format string, args ...any) (URL, error) {
		return URL{}, fmt.Errorf("remote %q: %s", given, fmt.Sprintf(format, args...))
	}
	parsed, err := url.Parse(full)
	if err != nil {
		return bad("not a URL (want host, host:port, or rfc2217://host:port)")
	}
	u := URL{Scheme: Scheme(strings.ToLower(parsed.Scheme)), Host: parsed.Hostname(), Port: parsed.Port()}
	switch u.Scheme {
	case SchemeRFC2217, SchemeRFC2217TLS, SchemeTCP, SchemeTelnet:
	default:
		return bad("unknown scheme %q (want rfc2217, rfc2217+tls, tcp or telnet)", parsed.Scheme)
	}
	switch {
	case u.Host == "":
		return bad("no host (want %s://host:port)", u.Scheme)
	case parsed.User != nil:
		return bad("a user name has no meaning here (want %s://host:port)", u.Scheme)
	case strings.Trim(parsed.Path, "/") != "" || parsed.RawQuery != "" || parsed.Fragment != "":
		return bad("nothing may follow the port (want %s://host:port)", u.Scheme)
	}
	if u.Port == "" {
		u.Port = defaultPorts[u.Scheme]
	}
	if u.Port == "" {
		return bad("no port (want %s://host:port: raw servers have no usual one)", u.Scheme)
	}
	if n, err := strconv.ParseUint(u.Port, 10, 16); err != nil || n == 0 {
		return bad("port %q (want a number from 1 to 65535)", u.Port)
	}
	return u, nil
}
