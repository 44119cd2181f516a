package makers

import "bytes"

// greetings are the first bytes, in lower case, of services that are no serial ports.
var greetings = []struct{ prefix, service string }{
	{"http/", "a web server"},
	{"<html", "a web server"},
	{"<!doctype html", "a web server"},
	{"ssh-", "an SSH server"},
	{"rfb ", "a VNC server"},
	{"* ok", "a text service (IMAP)"},
	{"+ok", "a text service (POP3)"},
	{"@rsyncd:", "an rsync server"},
}

// TLS is what Service returns for a server that expects a TLS handshake.
const TLS = "a TLS server"

// Service names the service that greets with a text, with an article: "an SSH server". It returns TLS for a server that
// expects a TLS handshake, and "" if none is known.
func Service(text []byte) string {
	if len(text) > 1 && (text[0] == 0x15 || text[0] == 0x16) && text[1] == 3 { // a TLS record: alert or handshake
		return TLS
	}
	if bytes.HasPrefix(text, []byte("this port wants TLS")) { // serve of this program
		return TLS
	}
	lower := bytes.ToLower(text)
	for _, g := range greetings {
		if bytes.HasPrefix(lower, []byte(g.prefix)) {
			return g.service
		}
	}
	if line, _, whole := bytes.Cut(lower, []byte("\n")); whole && bytes.HasPrefix(line, []byte("220")) {
		switch {
		case bytes.Contains(line, []byte("smtp")), bytes.Contains(line, []byte("mail")):
			return "a text service (SMTP, mail)"
		case bytes.Contains(line, []byte("ftp")):
			return "a text service (FTP)"
		}
		return "a text service (FTP or mail)"
	}
	return ""
}
