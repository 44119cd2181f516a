// Package makers has facts about the servers that telnetcpc may connect to: the TCP ports that makers use, how their
// servers open a connection, what they send when a port is in use or its device is missing, and what their users report.
// It does no I/O and implements no protocol. Package rfc2217 looks up the text of a peer that refuses a session; remote
// and probe explain to the user what a peer is.
package makers

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// ports is a range of TCP ports that a maker's manual assigns to something other than RFC 2217.
type ports struct {
	first, last int
	means       string
}

// server is a serial server, as its source, its manual or its users describe it. An empty field means that nothing is
// known.
type server struct {
	name      string // one word for programs; set if the server has a signature
	label     string // its name in texts
	signature *regexp.Regexp
	reported  string // what users and manuals report; no probe has seen it
	ports     []ports
	opening   string // the Telnet verbs that it begins with
	codes     []byte // COM-PORT-OPTION commands of its own
	noDevice  func(text []byte) bool
}

var servers = []server{
	{ // serve of this program
		noDevice: func(text []byte) bool { return bytes.HasPrefix(text, []byte("port not opened")) },
	},
	{
		opening:  "WILL SGA,DO SGA,WILL ECHO,DONT ECHO,DO BINARY,WILL BINARY,DO COM-PORT",
		label:    "ser2net or another gensio server",
		noDevice: func(text []byte) bool { return bytes.Contains(text, []byte("Device open failure")) },
	},
	{opening: "WILL ECHO,WILL SGA,DO BINARY", label: "pyserial or derived from it (esptool)"},
	{opening: "WILL BINARY,DO BINARY,WILL ECHO,WILL SGA,DO SGA,DO COM-PORT", label: "sredird"},
	{opening: "WILL ECHO,DO COM-PORT", label: "hub4com"},
	{
		name: "moxa", signature: regexp.MustCompile(`(?i)\b(moxa|nport)`),
		reported: "reported of Moxa: RFC 2217 is a mode of each port, Real COM (4001.., 966..) is another protocol; with several connections allowed, settings are answered and ignored; idle links are closed",
		ports: []ports{
			{4001, 4032, "a Moxa NPort in TCP Server or Real COM mode? set the port's operation mode to RFC2217"},
			{966, 997, "the command port of a Moxa NPort in Real COM mode? set the port's operation mode to RFC2217"},
		},
	},
	{
		name: "digi", signature: regexp.MustCompile(`(?i)\bdigi\b|\bportserver\b|\bconnectport\b`),
		reported: "reported of Digi: RFC 2217 wants the port at its factory settings; a dead session locks the port until the server notices",
	},
	{
		name: "lantronix", signature: regexp.MustCompile(`(?i)\b(lantronix|xport|uds\d)`),
		reported: "reported of Lantronix: port 10001 is raw unless its Telnet mode is on; it may suspend data and not resume it (--quirk suspend-ignore)",
		ports:    []ports{{10001, 10016, "a Lantronix with its Telnet mode off? switch it on"}},
	},
	{
		name: "sena", signature: regexp.MustCompile(`(?i)\bsena\b|\bhelloDevice\b`),
		reported: "reported of SENA: RTS is not driven and CTS not reported",
	},
	{
		name: "hw-group", label: "HW group", signature: regexp.MustCompile(`(?i)\bhw ?group\b|\bhwg\b`),
		reported: "reported of HW group: it closes after 50 s without data",
		codes:    []byte{0x33, 0x34, 0x35, 0x36, 0x37, 0x97},
	},
	{
		name: "advantech", signature: regexp.MustCompile(`(?i)\b(advantech|eki-\d)`),
		reported: "reported of Advantech: it closes after 10 s without data, unless its idle timeout is set otherwise",
	},
}

// Port returns what makers use a TCP port for, if that is not RFC 2217, and what to do about it; "" if nothing is known.
func Port(n int) string {
	for _, s := range servers {
		for _, p := range s.ports {
			if n >= p.first && n <= p.last {
				return p.means
			}
		}
	}
	return ""
}

// ByOpening names the server that opens a connection with these Telnet verbs, each as "WILL ECHO"; "" if unknown. Verbs
// after its opening do not matter.
func ByOpening(verbs []string) string {
	opening := strings.Join(verbs, ",") + ","
	for _, s := range servers {
		if s.opening != "" && strings.HasPrefix(opening, s.opening+",") {
			return s.label
		}
	}
	return ""
}

// Report is what users and manuals report of a maker's servers.
type Report struct {
	Name  string // one word for programs
	Means string // what it means for a user
}

// BySignature returns what is reported of the makers that a signature (RFC 2217, SIGNATURE) names.
func BySignature(signature []byte) (list []Report) {
	for _, s := range servers {
		if s.signature != nil && s.signature.Match(bytes.TrimSpace(signature)) {
			list = append(list, Report{s.name, s.reported})
		}
	}
	return list
}

// ByCode names the maker whose servers send a COM-PORT-OPTION command that RFC 2217 does not know; "" if unknown.
func ByCode(code byte) string {
	for _, s := range servers {
		if slices.Contains(s.codes, code) {
			return s.label
		}
	}
	return ""
}

// DeviceMissing reports whether the text is an access server's notice that it cannot open its device.
func DeviceMissing(text []byte) bool {
	return slices.ContainsFunc(servers, func(s server) bool { return s.noDevice != nil && s.noDevice(text) })
}

// inUse matches whole words: "BusyBox" and "admin user" are in the greetings of many devices.
var inUse = regexp.MustCompile(`(?i)(^|[^a-z])(in use|busy)([^a-z]|$)`)

// InUse reports whether the text of a server that closes may be its notice that another client has the port.
func InUse(text []byte) bool { return inUse.Match(text) }
