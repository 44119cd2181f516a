package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"telnetcpc/bridge/telnet"
)

// A probe, in the order of its steps:
//
//	open       WILL COM-PORT alone, and the wait for what it brings        here
//	quiet      until the server has said what it says by itself            here
//	mark       one timing mark, to servers that have shown more than 44    probe_ask.go
//	ask        one question after the other: what is in force              probe_ask.go
//	signature  last: there are servers that die of this question           probe_ask.go
//	report     what was seen and what it means                             probe_deviation.go, probe_look.go
//
// probe_talk.go is the conversation under all of them. Nothing in it waits for more than one thing, and everything it
// keeps is bounded.

// DefaultProbeTimeout is how long a probe may take.
const DefaultProbeTimeout = 10 * time.Second

const (
	// patience is how long a listener may be silent, or talk without Telnet, before it counts as a raw port.
	patience = 3 * time.Second
	// askAgain is how long a Telnet server may leave WILL COM-PORT unanswered before DO is tried, once.
	askAgain = time.Second
	// quietFor is the silence after which a server counts as having said what it says by itself, and quietMost how
	// long that is waited for: a device may send data all the time.
	quietFor, quietMost = 300 * time.Millisecond, time.Second
	// lastWords is how long a listener may take to answer the end of our half of the connection.
	lastWords = 2 * time.Second
)

// ProbeOptions are how a probe is made. The zero value of each field means its default.
type ProbeOptions struct {
	// Timeout is for everything, from the dial on; 0: DefaultProbeTimeout. A report that ran out of time says so.
	Timeout time.Duration
	// Thorough asks for values and the signature also where a server has shown nothing but COM-PORT-OPTION: some small
	// servers take a question for a setting.
	Thorough bool
}

// Probe connects as Dial does, whatever the scheme, and finds out what listens there: it negotiates, asks what is in
// force and hangs up. It changes no setting, drives no line and sends nothing to the device. The error, one line with
// the way out, says that nothing was reached; a listener that is no access server is a Report.
func (r *Remote) Probe(ctx context.Context, o ProbeOptions) (*Report, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultProbeTimeout
	}
	within, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	conn, _, err := r.connect(within)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && within.Err() != nil && NameTrouble(err, r.url.Host) == "":
		return nil, &Error{fmt.Sprintf("dial %s: no answer within %v (--timeout D waits longer)", r.url.Address(), o.Timeout), err}
	case err != nil:
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	report := probe(within, conn, o.Thorough, r.rawPort())
	return report, ctx.Err()
}

// probe talks with a listener in the caller's goroutine until it knows enough, or ctx ends. wayOut is what a raw port may
// be here, and what to do then. The connection is the caller's to close.
func probe(ctx context.Context, conn net.Conn, thorough bool, wayOut string) *Report {
	p := newProber(ctx, conn)
	p.thorough, p.wayOut = thorough, wayOut
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	p.open()
	if p.agreed() {
		p.quiet()
		p.mark()
		p.ask()
		p.askSignature()
		p.quiet() // late answers
	} else {
		p.lookCloser()
	}
	return p.report()
}

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
	return p.agreed() || p.refused() || !p.telnet && known(p.text) != ""
}

func (p *prober) refused() bool {
	return p.heardVerb(telnet.DONT, telnet.ComPort) && !p.echo.suspected()
}

// quiet listens until the server has said what it says by itself.
func (p *prober) quiet() {
	most := time.Now().Add(quietMost)
	for p.err == nil && time.Now().Before(most) {
		before := p.received
		p.listen(earlier(time.Now().Add(quietFor), most), func() bool { return p.received != before })
		if p.received == before {
			return
		}
	}
}

// lookCloser learns of a listener that is no access server what can be learnt without sending it anything: a text goes
// on, and some that are silent (a web server) speak when our half of the connection ends.
func (p *prober) lookCloser() {
	if len(p.text) > 0 || p.telnet {
		p.quiet()
		return
	}
	half, ok := p.conn.(interface{ CloseWrite() error })
	if !ok || p.err != nil {
		return
	}
	p.halfClosed = true
	if err := half.CloseWrite(); err != nil {
		p.err = err
		return
	}
	p.listen(time.Now().Add(lastWords), func() bool { return len(p.text) > 0 })
	p.quiet()
}

// closedByPeer reports whether the listener has ended the connection.
func (p *prober) closedByPeer() bool {
	var timeout net.Error
	return p.err != nil && (errors.Is(p.err, io.EOF) || !errors.As(p.err, &timeout) || !timeout.Timeout())
}

// timeUp reports whether the probe's time was up before it was done.
func (p *prober) timeUp() bool { return p.err != nil && !p.closedByPeer() }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// report puts together what was seen.
func (p *prober) report() *Report {
	r := &Report{
		AccessServer: p.agreed(),
		Signature:    printable(p.signature),
		Options:      p.reportOptions(),
		Modem:        p.reportModem(),
		RTT:          p.reportRTT(),
	}
	for i, q := range questions {
		*q.of(&r.Settings) = p.answers[i].setting(i)
	}
	if r.AccessServer {
		r.LooksLike = p.lookAccessServer()
		r.Deviations = p.deviations()
	} else {
		r.LooksLike = p.lookOther()
		r.Deviations = []Deviation{}
	}
	return r
}

func (p *prober) reportOptions() []Option {
	list := []Option{}
	for _, o := range p.order {
		list = append(list, Option{
			Name: o.String(), Number: int(o),
			Server: p.heard[o].words(), Probe: p.said[o].words(),
			ServerOn: p.options.Peer(o), ProbeOn: p.options.Us(o),
		})
	}
	return list
}

func (p *prober) reportModem() Modem {
	m := Modem{Told: p.modemTold}
	for _, line := range []struct {
		bit byte
		on  *bool
	}{{16, &m.CTS}, {32, &m.DSR}, {64, &m.RI}, {128, &m.DCD}} {
		*line.on = p.modem&line.bit != 0
	}
	return m
}
