package remote

import (
	"bytes"
	"strings"

	"telnetcpc/bridge/telnet"
)

// openings are how some servers begin to negotiate, by which they can be told apart where the signature is silent.
var openings = []struct {
	verbs string
	who   string
}{
	{"WILL SGA,DO SGA,WILL ECHO,DONT ECHO,DO BINARY,WILL BINARY,DO COM-PORT", "ser2net or another of gensio"},
	{"WILL ECHO,WILL SGA,DO BINARY", "pyserial's or one made of it (esptool)"},
	{"WILL BINARY,DO BINARY,WILL ECHO,WILL SGA,DO SGA,DO COM-PORT", "sredird"},
	{"WILL ECHO,DO COM-PORT", "hub4com"},
}

// lookAccessServer says which access server it looks like.
func (p *prober) lookAccessServer() string {
	is := "an RFC 2217 access server"
	switch who := p.opener(); {
	case p.occupied():
		return is + ", but another client has its port"
	case len(p.signature) > 0:
		return is + ": " + printable(p.signature) + ", by its signature"
	case who != "":
		return is + ": " + who + ", by its opening"
	}
	return is
}

func (p *prober) opener() string {
	var list []string
	for _, m := range p.opening {
		list = append(list, m.Command.String()+" "+m.Option.String())
	}
	opening := strings.Join(list, ",") + ","
	for _, o := range openings {
		if strings.HasPrefix(opening, o.verbs+",") {
			return o.who
		}
	}
	return ""
}

// lookOther says what a listener that is no access server looks like, and the way out.
func (p *prober) lookOther() string {
	says := ""
	if len(p.text) > 0 {
		says = ": it says " + quoted(p.text)
	}
	const without = " (switch RFC 2217 on at the server; telnet:// carries bytes without settings)"
	what := known(p.text)
	switch {
	case p.echo.suspected():
		return "it sends back what it gets: a loop plug, or an echo service (" + p.wayOut + ")"
	case p.occupied():
		return "a port that another client has" + says + " (try again when that client is gone)"
	case p.refused():
		return "Telnet without COM-PORT-OPTION, which it refuses" + says + without
	case what == tlsServer:
		return what
	case !p.telnet && what != "":
		line, _, _ := bytes.Cut(p.text, []byte("\n"))
		return what + ": it says " + quoted(bytes.TrimSpace(line)) + " (is the port right?)"
	case p.timeUp() && !p.halfClosed:
		return "unknown: the probe's time was up before it was told apart" + says + " (--timeout D waits longer)"
	case p.telnet && p.closedByPeer():
		return "Telnet, and it closes before COM-PORT-OPTION is agreed" + says + " (another client may have the port)"
	case p.telnet:
		return "Telnet without COM-PORT-OPTION, which it does not answer" + says + without
	case len(p.text) > 0 && p.halfClosed:
		return "a service that answers when we close our half" + says + " (is the port right?)"
	case len(p.text) > 0:
		return "it talks, and not in Telnet" + says + " (" + p.wayOut + ")"
	}
	return p.lookSilent()
}

// lookSilent says what a listener that said nothing at all looks like.
func (p *prober) lookSilent() string {
	_, secure := p.conn.(*secured)
	orTLS := "; or it waits for TLS: rfc2217+tls:// would tell"
	if secure {
		orTLS = ""
	}
	switch {
	case secure && p.closedByPeer() && !p.halfClosed:
		return "it closes right after the TLS handshake: it may want a client certificate (--tls-cert FILE --tls-key FILE)"
	case p.closedByPeer() && !p.halfClosed:
		return "it closes at once: an access server that has another client (sredird does so), or one that lets this address not in"
	case p.closedByPeer():
		return "silent, and closes when we close our half (" + p.wayOut + orTLS + ")"
	}
	return "silent (" + p.wayOut + "; or an access server that has another client" + orTLS + ")"
}

// greetings are how services begin that are no serial ports, in lower case.
var greetings = []struct{ prefix, who string }{
	{"http/", "a web server"},
	{"<html", "a web server"},
	{"<!doctype html", "a web server"},
	{"ssh-", "an SSH server"},
	{"rfb ", "a VNC server"},
	{"* ok", "a text service (IMAP)"},
	{"+ok", "a text service (POP3)"},
	{"@rsyncd:", "an rsync server"},
}

const tlsServer = "a TLS server (try rfc2217+tls://)"

// known names the service that a text comes from, tlsServer with its way out; empty: none that is known.
func known(text []byte) string {
	if len(text) > 1 && (text[0] == 0x15 || text[0] == 0x16) && text[1] == 3 { // an alert, a handshake
		return tlsServer
	}
	if bytes.HasPrefix(text, []byte("this port wants TLS")) { // our own serve says so
		return tlsServer
	}
	lower := bytes.ToLower(text)
	for _, g := range greetings {
		if bytes.HasPrefix(lower, []byte(g.prefix)) {
			return g.who
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

// occupied reports whether it said that another client has the port: ser2net negotiates, says so and closes.
func (p *prober) occupied() bool {
	lower := bytes.ToLower(p.text)
	return p.closedByPeer() && !p.halfClosed && (bytes.Contains(lower, []byte("in use")) || bytes.Contains(lower, []byte("busy")))
}

// taken says how a verb of ours about an option was taken: "refused" or "not answered".
func (p *prober) taken(o telnet.Option, no telnet.Command) string {
	if p.heardVerb(no, o) {
		return "refused"
	}
	return "not answered"
}
