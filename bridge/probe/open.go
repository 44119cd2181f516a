package probe

import (
	"time"

	"telnetcpc/bridge/makers"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// open negotiates COM-PORT-OPTION as attach does, so that both come to the same conclusion about a listener. It stops
// earlier if the listener greets as a known service.
func (p *prober) open() {
	p.sendVerbs(p.opening.Start(time.Now()))
	for p.err == nil && p.opening.Conclusion() == rfc2217.Undecided && !p.otherService() {
		before := p.bytesIn
		p.converse(p.opening.Until(), func() bool { return p.bytesIn != before })
		if p.err == nil && p.bytesIn == before {
			p.sendVerbs(p.opening.Timeout(nil, time.Now()))
		}
	}
	if p.closedByPeer() {
		p.opening.End()
	}
}

// otherService reports whether the listener has greeted as a service that is no serial port.
func (p *prober) otherService() bool { return !p.opening.Telnet() && makers.Service(p.text) != "" }

// agreed reports whether COM-PORT-OPTION is agreed.
func (p *prober) agreed() bool {
	return p.opening.Conclusion() == rfc2217.Agreed && (p.options.Us(telnet.ComPort) || p.options.Peer(telnet.ComPort))
}

// refused reports whether the listener has refused COM-PORT-OPTION; leaving it unanswered is no refusal.
func (p *prober) refused() bool {
	c := p.opening.Conclusion() // Agreed: it has given the option up since
	return (c == rfc2217.Refused || c == rfc2217.Agreed) && p.received(telnet.DONT, telnet.ComPort)
}

// occupied reports whether the listener sent that its port is in use: ser2net negotiates, sends that and closes.
func (p *prober) occupied() bool {
	text, closed := p.greeting()
	return rfc2217.MeansInUse(text, closed)
}

// noDevice reports whether the listener sent that it cannot open its device.
func (p *prober) noDevice() bool {
	text, _ := p.greeting()
	return rfc2217.MeansNoDevice(text)
}

// greeting returns the data that the listener sent before it answered the first query; later data may be the device's.
// closed reports whether the listener then closed the connection, unasked.
func (p *prober) greeting() (text []byte, closed bool) {
	if p.halfClosed {
		return nil, false
	}
	if p.serves {
		return p.text[:p.greeted], false
	}
	return p.text, p.closedByPeer()
}
