package probe

import (
	"time"

	"telnetcpc/bridge/makers"
	"telnetcpc/bridge/telnet"
)

const (
	// patience is how long a listener may be silent, or talk without Telnet, before it counts as a raw port.
	patience = 3 * time.Second
	// askAgain is how long a Telnet server may leave WILL COM-PORT unanswered before DO is tried, once.
	askAgain = time.Second
)

// open sends WILL COM-PORT alone, as the first bytes of the connection, and waits for what it brings. Nothing else is
// sent before the listener has spoken Telnet: on a raw port it would be printed on the instrument.
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

// agreed reports whether COM-PORT-OPTION is in force. A listener that has said exactly what we said is a plug that
// echoes, until it says something of its own.
func (p *prober) agreed() bool {
	return (p.options.Us(telnet.ComPort) || p.options.Peer(telnet.ComPort)) && !p.echo.suspected()
}

// decided reports whether the opening need not wait any longer.
func (p *prober) decided() bool {
	return p.agreed() || p.refused() || !p.telnet && makers.Service(p.text) != ""
}

func (p *prober) refused() bool {
	return p.heardVerb(telnet.DONT, telnet.ComPort) && !p.echo.suspected()
}

// occupied reports whether it said that another client has the port: ser2net negotiates, says so and closes.
func (p *prober) occupied() bool {
	return p.closedByPeer() && !p.halfClosed && makers.InUse(p.text)
}

// echo compares what comes with what was sent.
type echo struct {
	ours      []byte // what was sent and has not come back
	came      bool
	different bool
}

// sent is called with everything that is sent, until something different has come.
func (e *echo) sent(p []byte) {
	if !e.different {
		e.ours = append(e.ours, p...)
	}
}

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

// suspected reports whether everything that came is what was sent.
func (e *echo) suspected() bool { return e.came && !e.different }
