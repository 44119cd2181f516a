package listening

import (
	"net/netip"
	"strconv"
	"strings"
)

// parseLsof reads what lsof -F writes (lsof(8), "OUTPUT FOR OTHER PROGRAMS"): each line is a field, named by its first
// character. p begins a process, f one of its files; other fields belong to the last one begun. With -P and -n, the name
// (n) is an address and a port: "*:3696", "127.0.0.1:3696", "[::1]:3696"; only the type (t) distinguishes the families of
// "*". Unknown fields are skipped.
func parseLsof(text string, port uint16) []Listener {
	var all []Listener
	var l Listener
	family := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		value := line[1:]
		switch line[0] {
		case 'p':
			pid, err := strconv.Atoi(value)
			if err != nil {
				pid = 0
			}
			l, family = Listener{PID: pid}, ""
		case 'c':
			l.Process = unescape(value)
		case 'u':
			l.User = value
		case 'L':
			l.User = unescape(value) // comes after u; a name is better than a number
		case 'f':
			family = ""
		case 't':
			family = value
		case 'n':
			if at, ok := localAddress(value, family == "IPv6"); ok && at.Port() == port {
				l.Address = at
				all = append(all, l)
			}
		}
	}
	return all
}

// localAddress parses a local address as lsof and sockstat print it. IPv6 addresses may lack brackets.
func localAddress(s string, v6 bool) (netip.AddrPort, bool) {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return netip.AddrPort{}, false
	}
	port, err := strconv.ParseUint(s[colon+1:], 10, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	host := strings.Trim(s[:colon], "[]")
	switch {
	case host == "*" && v6:
		host = "::"
	case host == "*":
		host = "0.0.0.0"
	}
	at, err := netip.ParseAddr(host)
	return netip.AddrPortFrom(at, uint16(port)), err == nil
}

// unescape decodes lsof's \xHH, which it writes for bytes that it considers unprintable: also for a space in a command's
// name. The result must be escaped again before it is printed.
func unescape(s string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, `\x`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		n, err := strconv.ParseUint(rest[:min(2, len(rest))], 16, 8)
		if err != nil || len(rest) < 2 {
			b.WriteString(`\x`)
			s = rest
			continue
		}
		b.WriteByte(byte(n))
		s = rest[2:]
	}
}

// parseSockstat reads what sockstat -l writes (sockstat(1)): USER COMMAND PID FD PROTO LOCAL FOREIGN. A command's name
// may contain spaces: it is what the other columns leave. "?" is a process that is not visible.
func parseSockstat(text string, port uint16) []Listener {
	var all []Listener
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		n := len(f)
		if n < 7 || !strings.HasPrefix(f[n-3], "tcp") {
			continue
		}
		at, ok := localAddress(f[n-2], strings.HasPrefix(f[n-3], "tcp6") || f[n-3] == "tcp46")
		if !ok || at.Port() != port {
			continue
		}
		l := Listener{Address: at, User: visible(f[0]), Process: visible(strings.Join(f[1:n-5], " "))}
		if pid, err := strconv.Atoi(f[n-5]); err == nil {
			l.PID = pid
		}
		all = append(all, l)
	}
	return all
}

// visible returns a column of sockstat, or "" if sockstat does not know it.
func visible(column string) string {
	if column == "?" {
		return ""
	}
	return column
}
