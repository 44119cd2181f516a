package probe

import (
	"bytes"

	"telnetcpc/bridge/makers"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// lookAccessServer says which access server it looks like.
func (p *prober) lookAccessServer() string {
	is := "an RFC 2217 access server"
	switch who := p.opener(); {
	case p.occupied():
		return is + ", but another client has its port"
	case p.noDevice():
		return is + ", but it cannot open its device: it says " + quoted(p.text) + " (is it plugged in there?)"
	case len(p.signature) > 0:
		return is + ": " + printable(p.signature) + ", by its signature"
	case who != "":
		return is + ": " + who + ", by its opening"
	}
	return is
}

func (p *prober) opener() string {
	var list []string
	for _, m := range p.firstVerbs {
		list = append(list, m.Command.String()+" "+m.Option.String())
	}
	return makers.ByOpening(list)
}

// lookOther says what a listener that is no access server looks like, and the way out.
func (p *prober) lookOther() string {
	says := ""
	if len(p.text) > 0 {
		says = ": it says " + quoted(p.text)
	}
	const without = " (switch RFC 2217 on at the server; telnet:// carries bytes without settings)"
	service := makers.Service(p.text)
	switch {
	case p.opening.Conclusion() == rfc2217.EchoesBack:
		return "it sends back what it gets: a loop plug, or an echo service (" + p.wayOut + ")"
	case p.occupied():
		return "a port that another client has" + says + " (try again when that client is gone)"
	case p.noDevice():
		return "an access server that cannot open its device" + says + " (is it plugged in there?)"
	case p.refused():
		return "Telnet without COM-PORT-OPTION, which it refuses" + says + without
	case service == makers.TLS:
		return service + " (try rfc2217+tls://)"
	case !p.opening.Telnet() && service != "":
		line, _, _ := bytes.Cut(p.text, []byte("\n"))
		return service + ": it says " + quoted(bytes.TrimSpace(line)) + " (is the port right?)"
	case p.timeUp() && !p.halfClosed:
		return "unknown: the probe's time was up before it was told apart" + says + " (--timeout D waits longer)"
	case p.opening.Telnet() && p.closedByPeer():
		return "Telnet, and it closes before COM-PORT-OPTION is agreed" + says + " (another client may have the port)"
	case p.opening.Telnet():
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
	orTLS := "; or it waits for TLS: rfc2217+tls:// would tell"
	if p.secure {
		orTLS = ""
	}
	switch {
	case p.secure && p.closedByPeer() && !p.halfClosed:
		return "it closes right after the TLS handshake: it may want a client certificate (--tls-cert FILE --tls-key FILE)"
	case p.closedByPeer() && !p.halfClosed:
		return "it closes at once: an access server that has another client (sredird does so), or one that lets this address not in"
	case p.closedByPeer():
		return "silent, and closes when we close our half (" + p.wayOut + orTLS + ")"
	}
	return "silent (" + p.wayOut + "; or an access server that has another client" + orTLS + ")"
}

// taken says how a verb of ours about an option was taken: "refused" or "not answered".
func (p *prober) taken(o telnet.Option, no telnet.Command) string {
	if p.heardVerb(no, o) {
		return "refused"
	}
	return "not answered"
}
