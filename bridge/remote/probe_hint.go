package remote

import (
	"bytes"
	"regexp"

	"telnetcpc/bridge/rfc2217"
)

// hwGroupCodes are what HW group's devices are reported to use beside the codes of RFC 2217.
var hwGroupCodes = map[rfc2217.Code]bool{0x33: true, 0x34: true, 0x35: true, 0x36: true, 0x37: true, 0x97: true}

// hints are what users and manuals report of makers, by words of their signatures. None of it was seen by a probe.
var hints = []struct {
	name      string
	signature *regexp.Regexp
	means     string
}{
	{"moxa", regexp.MustCompile(`(?i)\b(moxa|nport)`),
		"reported of Moxa: RFC 2217 is a mode of each port, Real COM (4001.., 966..) is another protocol; with several connections allowed, settings are answered and ignored; idle links are closed"},
	{"digi", regexp.MustCompile(`(?i)\bdigi\b|\bportserver\b|\bconnectport\b`),
		"reported of Digi: RFC 2217 wants the port at its factory settings; a dead session locks the port until the server notices"},
	{"lantronix", regexp.MustCompile(`(?i)\b(lantronix|xport|uds\d)`),
		"reported of Lantronix: port 10001 is raw unless its Telnet mode is on; it may suspend data and not resume it (--quirk suspend-ignore)"},
	{"sena", regexp.MustCompile(`(?i)\bsena\b|\bhelloDevice\b`),
		"reported of SENA: RTS is not driven and CTS not told"},
	{"hw-group", regexp.MustCompile(`(?i)\bhw ?group\b|\bhwg\b`),
		"reported of HW group: it closes after 50 s without data"},
	{"advantech", regexp.MustCompile(`(?i)\b(advantech|eki-\d)`),
		"reported of Advantech: it closes after 10 s without data, unless its idle timeout is set otherwise"},
}

// reported is what is reported of the maker that the signature names.
func (p *prober) reported() (list []Deviation) {
	for _, h := range hints {
		if h.signature.Match(bytes.TrimSpace(p.signature)) {
			list = append(list, Deviation{h.name, "its signature is " + quoted(p.signature), h.means})
		}
	}
	return list
}
