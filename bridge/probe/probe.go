// Package probe identifies what listens at a remote, or on a TCP port of this machine: whether it is an access server,
// its current settings, and how it deviates from RFC 2217. It changes no setting, drives no line and sends nothing to the
// device. It is for people and scripts that inspect a server (telnetcpc probe): it makes no port and no session.
//
// The steps of a probe, in their order:
//
//	open       WILL COM-PORT alone, then wait for the reply                open.go
//	settle     wait until the server has sent what it sends unasked        probe.go
//	mark       one timing mark, if the server negotiates other options     ask.go
//	query      the current settings, one query after the other             ask.go
//	signature  last, because some servers crash when asked for it          ask.go
//	report     what was seen and what it means                             deviations.go, verdict.go
//
// talk.go has the conversation that all of them use. Each step waits for one thing, and everything that is kept is
// bounded.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/tcp"
)

// DefaultTimeout is how long a probe may take.
const DefaultTimeout = 10 * time.Second

const (
	// settleFor is how long a server must be silent before it counts as having sent what it sends unasked; settleMost bounds
	// the wait for it, because a device may send all the time.
	settleFor, settleMost = 300 * time.Millisecond, time.Second
)

// Options are how a probe is made. The zero value of each field means its default.
type Options struct {
	// Timeout bounds the whole probe, the dial included; 0: DefaultTimeout. If it ends the probe, the report has the
	// deviation time-up.
	Timeout time.Duration
	// Thorough queries the settings and the signature even if the server negotiates nothing but COM-PORT-OPTION: some
	// small servers mistake a query for a setting.
	Thorough bool
}

// Run connects as Remote.Dial does, whatever the scheme, and identifies what listens there: it negotiates, queries the
// settings and hangs up. It changes no setting, drives no line and sends nothing to the device. The error means that it
// could not connect, in one line with a hint about what to do; for a listener that is no access server, Run returns a
// Report.
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
	p.thorough, p.secure, p.rawHint = o.Thorough, url.Scheme == remote.SchemeRFC2217TLS, url.RawHint()
	return p.run(within), ctx.Err()
}

// run performs the steps in the caller's goroutine, until it knows enough or ctx ends. The caller closes the connection.
func (p *prober) run(ctx context.Context) *Report {
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetDeadline(tcp.Past()) })
	defer stop()
	p.open()
	if p.agreed() {
		p.settle()
		p.mark()
		p.query()
		p.askSignature()
		p.settle() // late answers
	} else {
		p.elicit()
	}
	return p.report()
}

// settle waits until the server has sent what it sends unasked.
func (p *prober) settle() {
	most := time.Now().Add(settleMost)
	for p.err == nil && time.Now().Before(most) {
		before := p.bytesIn
		p.converse(earlier(time.Now().Add(settleFor), most), func() bool { return p.bytesIn != before })
		if p.bytesIn == before {
			return
		}
	}
}

// elicit reads what a listener that is no access server sends without being sent anything: the rest of a text, or, from
// some that are silent (a web server), an answer to the end of our half of the connection.
func (p *prober) elicit() {
	if len(p.text) > 0 || p.opening.Telnet() {
		p.settle()
		return
	}
	if p.err != nil {
		return
	}
	err := tcp.CloseWrite(p.conn)
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	p.halfClosed = true
	if err != nil {
		p.err = err
		return
	}
	p.converse(time.Now().Add(remote.LastWords), func() bool { return len(p.text) > 0 })
	p.settle()
}

// closedByPeer reports whether the listener has ended the connection.
func (p *prober) closedByPeer() bool {
	var timeout net.Error
	return p.err != nil && (errors.Is(p.err, io.EOF) || !errors.As(p.err, &timeout) || !timeout.Timeout())
}

// timeUp reports whether the probe ran out of time.
func (p *prober) timeUp() bool { return p.err != nil && !p.closedByPeer() }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// report returns what was seen and what it means.
func (p *prober) report() *Report {
	r := &Report{
		AccessServer: p.agreed(),
		Signature:    printable(p.signature),
		Options:      p.reportOptions(),
		Modem:        p.reportModem(),
		RTT:          p.reportRTT(),
	}
	for i, q := range queries {
		*q.of(&r.Settings) = p.exchanges[i].setting(i)
	}
	if r.AccessServer {
		r.LooksLike = p.accessServerVerdict()
		r.Deviations = p.deviations()
	} else {
		r.LooksLike = p.otherVerdict()
		r.Deviations = []Deviation{}
	}
	return r
}

func (p *prober) reportOptions() []Option {
	list := []Option{}
	for _, o := range p.order {
		list = append(list, Option{
			Name: o.String(), Number: int(o),
			Server: p.verbsIn[o].words(), Probe: p.verbsOut[o].words(),
			ServerOn: p.options.Peer(o), ProbeOn: p.options.Us(o),
		})
	}
	return list
}

func (p *prober) reportModem() Modem {
	m := Modem{Reported: p.modemKnown}
	for _, line := range []struct {
		bit byte
		on  *bool
	}{{16, &m.CTS}, {32, &m.DSR}, {64, &m.RI}, {128, &m.DCD}} {
		*line.on = p.modem&line.bit != 0
	}
	return m
}
