package probe

import (
	"bytes"

	"telnetcpc/bridge/makers"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// accessServerVerdict says that it is an access server, and which, if it can be identified.
func (p *prober) accessServerVerdict() string {
	is := "an RFC 2217 access server"
	switch name := p.byOpening(); {
	case p.occupied():
		return is + ", but its port is in use by another client"
	case p.noDevice():
		return is + ", but it cannot open its device: it sent " + quoted(p.text) + " (is it plugged in there?)"
	case len(p.signature) > 0:
		return is + ": " + printable(p.signature) + ", by its signature"
	case name != "":
		return is + ": " + name + ", by its opening negotiation"
	}
	return is
}

// byOpening names the server by the verbs that it began with; "" if unknown.
func (p *prober) byOpening() string {
	var list []string
	for _, m := range p.firstVerbs {
		list = append(list, m.Command.String()+" "+m.Option.String())
	}
	return makers.ByOpening(list)
}

// otherVerdict says what a listener that is no access server may be, and what to do.
func (p *prober) otherVerdict() string {
	says := ""
	if len(p.text) > 0 {
		says = ": it sent " + quoted(p.text)
	}
	const without = " (enable RFC 2217 on the server; telnet:// carries bytes without settings)"
	service := makers.Service(p.text)
	switch {
	case p.opening.Conclusion() == rfc2217.EchoesBack:
		return "it echoes what it receives: a loopback plug or an echo service (" + p.wayOut + ")"
	case p.occupied():
		return "a port in use by another client" + says + " (try again when that client is gone)"
	case p.noDevice():
		return "an access server that cannot open its device" + says + " (is it plugged in there?)"
	case p.refused():
		return "Telnet, but it refuses COM-PORT-OPTION" + says + without
	case service == makers.TLS:
		return service + " (try rfc2217+tls://)"
	case !p.opening.Telnet() && service != "":
		line, _, _ := bytes.Cut(p.text, []byte("\n"))
		return service + ": it sent " + quoted(bytes.TrimSpace(line)) + " (is the port right?)"
	case p.timeUp() && !p.halfClosed:
		return "unknown: the probe ran out of time before it could identify it" + says + " (--timeout D waits longer)"
	case p.opening.Telnet() && p.closedByPeer():
		return "Telnet, but it closes the connection before it agrees to COM-PORT-OPTION" + says + " (another client may be using the port)"
	case p.opening.Telnet():
		return "Telnet, but it does not answer COM-PORT-OPTION" + says + without
	case len(p.text) > 0 && p.halfClosed:
		return "a service that answers when the client half-closes the connection" + says + " (is the port right?)"
	case len(p.text) > 0:
		return "it sends data, but no Telnet" + says + " (" + p.wayOut + ")"
	}
	return p.silentVerdict()
}

// silentVerdict says what a listener that has sent nothing at all may be.
func (p *prober) silentVerdict() string {
	orTLS := "; or it expects TLS: try rfc2217+tls://"
	if p.secure {
		orTLS = ""
	}
	switch {
	case p.secure && p.closedByPeer() && !p.halfClosed:
		return "it closes right after the TLS handshake: it may require a client certificate (--tls-cert FILE --tls-key FILE)"
	case p.closedByPeer() && !p.halfClosed:
		return "it closes the connection at once: an access server in use by another client (sredird does so), or one that does not accept this address"
	case p.closedByPeer():
		return "silent; it closes when the client half-closes the connection (" + p.wayOut + orTLS + ")"
	}
	return "silent (" + p.wayOut + "; or an access server in use by another client" + orTLS + ")"
}

// refusal says how the server declined a verb of ours: "refused" or "not answered".
func (p *prober) refusal(o telnet.Option, no telnet.Command) string {
	if p.received(no, o) {
		return "refused"
	}
	return "not answered"
}
