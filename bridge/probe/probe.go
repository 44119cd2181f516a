// Package probe finds out what listens at a remote, or on a TCP port of this machine: whether it is an access server,
// what is in force there and how it deviates from RFC 2217. It changes no setting, drives no line and sends nothing to the
// device. It is for people and scripts that look at a server (telnetcpc probe): it knows no port and makes no session.
//
// The steps of a probe, in their order:
//
//	open       WILL COM-PORT alone, and the wait for what it brings        open.go
//	quiet      until the server has sent what it sends by itself           probe.go
//	mark       one timing mark, to servers that have shown more than 44    ask.go
//	ask        one question after the other: what is in force              ask.go
//	signature  last: there are servers that die of this question           ask.go
//	report     what was seen and what it means                             deviations.go, verdict.go
//
// talk.go is the conversation under all of them. Each step waits for one thing, and everything that is kept is bounded.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"telnetcpc/bridge/remote"
)

// DefaultTimeout is how long a probe may take.
const DefaultTimeout = 10 * time.Second

const (
	// quietFor is the silence after which a server counts as having said what it says by itself, and quietMost how
	// long that is waited for: a device may send data all the time.
	quietFor, quietMost = 300 * time.Millisecond, time.Second
)

// Options are how a probe is made. The zero value of each field means its default.
type Options struct {
	// Timeout is for everything, from the dial on; 0: DefaultTimeout. A report that ran out of time says so.
	Timeout time.Duration
	// Thorough asks for values and the signature also where a server has shown nothing but COM-PORT-OPTION: some small
	// servers take a question for a setting.
	Thorough bool
}

// Run connects as Dial does, whatever the scheme, and finds out what listens there: it negotiates, asks what is in force
// and hangs up. It changes no setting, drives no line and sends nothing to the device. The error, one line with the way
// out, says that nothing was reached; a listener that is no access server is a Report.
func Run(ctx context.Context, r *remote.Remote, o Options) (*Report, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	within, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	url := r.URL()
	conn, err := r.Connect(within)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && within.Err() != nil && remote.NameTrouble(err, url.Host) == "":
		text := fmt.Sprintf("dial %s: no answer within %v (--timeout D waits longer)", url.Address(), o.Timeout)
		return nil, &remote.Error{Text: text, Err: err}
	case err != nil:
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	p := newProber(within, conn)
	p.thorough, p.secure, p.wayOut = o.Thorough, url.Scheme == remote.SchemeRFC2217TLS, url.RawHint()
	return p.run(within), ctx.Err()
}

// run talks with the listener in the caller's goroutine until it knows enough, or ctx ends. The connection is the
// caller's to close.
func (p *prober) run(ctx context.Context) *Report {
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetDeadline(time.Unix(1, 0)) })
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
	if len(p.text) > 0 || p.opening.Telnet() {
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
	p.listen(time.Now().Add(remote.LastWords), func() bool { return len(p.text) > 0 })
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
