package probe

import (
	"time"

	"telnetcpc/bridge/makers"
	"telnetcpc/bridge/telnet"
)

const (
	// patience is how long a listener may be silent, or send data without Telnet, before it is taken for a raw port.
	patience = 3 * time.Second
	// askAgain is how long to wait for the answer to WILL COM-PORT before DO COM-PORT is tried, once.
	askAgain = time.Second
)

// open sends WILL COM-PORT alone, as the first bytes of the connection, and waits for the reply. It sends nothing else
// before the listener has sent Telnet: on a raw port, a device would receive it as data.
func (p *prober) open() {
	began := time.Now()
	p.sendVerbs(p.options.AskUs(nil, telnet.ComPort, true))
	p.listen(began.Add(askAgain), p.decided)
	p.listen(began.Add(patience), func() bool { return p.decided() || p.telnet })
	if !p.telnet || p.decided() {
		return
	}
	p.sendVerbs(p.options.AskPeer(nil, telnet.ComPort, true))
	p.listen(time.Now().Add(patience), p.decided)
}

// agreed reports whether COM-PORT-OPTION is agreed. A listener that has sent exactly what it was sent is taken for a
// loopback plug until it sends something else.
func (p *prober) agreed() bool {
	return (p.options.Us(telnet.ComPort) || p.options.Peer(telnet.ComPort)) && !p.echo.suspected()
}

// decided reports whether the opening is complete.
func (p *prober) decided() bool {
	return p.agreed() || p.refused() || !p.telnet && makers.Service(p.text) != ""
}

// refused reports whether the listener has refused COM-PORT-OPTION.
func (p *prober) refused() bool {
	return p.received(telnet.DONT, telnet.ComPort) && !p.echo.suspected()
}

// occupied reports whether the server said that its port is in use: ser2net negotiates, says so and closes.
func (p *prober) occupied() bool {
	return p.closedByPeer() && !p.halfClosed && makers.InUse(p.text)
}

// echo compares what is received with what was sent.
type echo struct {
	ours      []byte // what was sent and has not come back
	came      bool
	different bool
}

// sent records everything that is sent, until something different has come.
func (e *echo) sent(p []byte) {
	if !e.different {
		e.ours = append(e.ours, p...)
	}
}

// got compares what has come.
func (e *echo) got(p []byte) {
	if e.different || len(p) == 0 {
		return
	}
	e.came = true
	if len(p) > len(e.ours) || string(e.ours[:len(p)]) != string(p) {
		e.different, e.ours = true, nil
		return
	}
	e.ours = e.ours[len(p):]
}

// suspected reports whether something came, and all of it is what was sent.
func (e *echo) suspected() bool { return e.came && !e.different }
