package remote

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"telnetcpc/bridge/makers"
)

// Scheme is the protocol of a URL.
type Scheme string

const (
	SchemeRFC2217    Scheme = "rfc2217"     // RFC 2217 over TCP, port 3696
	SchemeRFC2217TLS Scheme = "rfc2217+tls" // RFC 2217 over TLS, port 3696
	SchemeTCP        Scheme = "tcp"         // raw bytes: no settings, no control lines
	SchemeTelnet     Scheme = "telnet"      // Telnet without COM-PORT-OPTION, port 23
)

var defaultPorts = map[Scheme]string{SchemeRFC2217: "3696", SchemeRFC2217TLS: "3696", SchemeTelnet: "23"}

// URL is the address of a remote and its protocol.
type URL struct {
	Scheme Scheme
	Host   string // name or address; IPv6 without brackets, with a zone (RFC 4007) as in fe80::1%eth0
	Port   string // 1 to 65535
}

// String formats the URL as Parse reads it: always with the port, and a zone as in RFC 6874.
func (u URL) String() string {
	host := u.Host
	if addr, zone, ok := strings.Cut(host, "%"); ok {
		host = addr + "%25" + url.PathEscape(zone)
	}
	return string(u.Scheme) + "://" + net.JoinHostPort(host, u.Port)
}

// with returns the URL with another scheme.
func (u URL) with(s Scheme) URL { return URL{s, u.Host, u.Port} }

// RawHint returns a hint for the case that the peer is a raw port. It names the maker if one is known to use the port for
// something else.
func (u URL) RawHint() string {
	what := "a raw port?"
	if n, err := strconv.Atoi(u.Port); err == nil && makers.Port(n) != "" {
		what = makers.Port(n) + ";"
	}
	return fmt.Sprintf("%s %s carries bytes without settings", what, u.with(SchemeTCP))
}

// name returns the host without its zone, which has a meaning on this machine only: the name that a certificate must
// have.
func (u URL) name() string {
	host, _, _ := strings.Cut(u.Host, "%")
	return host
}

// Address returns host:port for net.Dial.
func (u URL) Address() string { return net.JoinHostPort(u.Host, u.Port) }

// Parse parses rfc2217://host[:3696], rfc2217+tls://host[:3696], tcp://host:port, telnet://host[:23], or a bare host or
// host:port, which means rfc2217. An IPv6 address may have a zone: fe80::1%eth0, [fe80::1%eth0]:3696, and in a URL also
// [fe80::1%25eth0] (RFC 6874). The error has what is wrong and what is accepted.
func Parse(s string) (URL, error) {
	if !strings.Contains(s, "://") {
		if a, err := netip.ParseAddr(s); err == nil && a.Is6() {
			s = "[" + s + "]"
		}
		return parse(s, "", s)
	}
	scheme, rest, _ := strings.Cut(s, "://")
	return parse(s, scheme, rest)
}

// parse parses what follows "://". No scheme means rfc2217.
func parse(given, scheme, rest string) (URL, error) {
	bad := func(format string, args ...any) (URL, error) {
		return URL{}, fmt.Errorf("remote %q: %s", given, fmt.Sprintf(format, args...))
	}
	full := cmp.Or(scheme, string(SchemeRFC2217)) + "://" + rest
	zone, err := "", error(nil)
	if literal, ok := strings.CutPrefix(rest, "["); ok {
		var addr, after string
		if addr, zone, after, err = cutZone(literal, scheme != ""); err != nil {
			return bad("%v", err)
		}
		full = full[:len(full)-len(literal)] + addr + after
	}
	parsed, err := url.Parse(full)
	if err != nil {
		return bad("not a URL (want host, host:port, or rfc2217://host:port)")
	}
	u := URL{Scheme: Scheme(strings.ToLower(parsed.Scheme)), Host: parsed.Hostname() + zone, Port: parsed.Port()}
	switch u.Scheme {
	case SchemeRFC2217, SchemeRFC2217TLS, SchemeTCP, SchemeTelnet:
	default:
		return bad("unknown scheme %q (want rfc2217, rfc2217+tls, tcp or telnet)", parsed.Scheme)
	}
	switch {
	case u.Host == "":
		return bad("no host (want %s://host:port)", u.Scheme)
	case !strings.HasPrefix(parsed.Host, "[") && strings.ContainsFunc(u.Host, notInName):
		return bad("%q is not a host (want a name, an IPv4 address, or an IPv6 address in brackets)", u.Host)
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

// cutZone removes the zone, with its %, from "addr%zone]...". In a URL, the zone follows %25, an escaped % (RFC 6874); a
// zone that is only "25" is an interface's number.
func cutZone(literal string, inURL bool) (addr, zone, after string, err error) {
	end := strings.LastIndexByte(literal, ']')
	if end < 0 {
		return literal, "", "", nil // not a URL
	}
	addr, zone, found := strings.Cut(literal[:end], "%")
	after = literal[end:]
	if !found {
		return addr, "", after, nil
	}
	if name, ok := strings.CutPrefix(zone, "25"); ok && name != "" && (inURL || strings.Trim(name, "0123456789") != "") {
		if decoded, err := url.PathUnescape(name); err == nil {
			zone = decoded
		}
	}
	a, err := netip.ParseAddr(addr + "%" + zone)
	if err != nil || !a.Is6() || strings.ContainsFunc(zone, notInZone) {
		return "", "", "", errors.New("not an IPv6 address with its zone (want an interface's name or number after the %, as in fe80::1%eth0)")
	}
	return addr, "%" + zone, after, nil
}

// notInName reports whether a character cannot occur in a host name, or would be parsed as something else.
func notInName(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune("%:[]", r) }

// notInZone reports whether a character cannot occur in an interface's name.
func notInZone(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune("%/[]", r) }
