//go:build linux || darwin || freebsd

package ptyhost

import (
	"log/slog"
	"sync"

	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/devpath"
)

// port is one pty whose slave the application opens. What differs from system to system is in device: how Next waits,
// how opens, closes and changes are noticed.
type port struct {
	claim  *devpath.Claim // on the path
	urgent func(uart.Event)
	log    *slog.Logger

	closing  sync.Once
	closeErr error // of the claim's release

	remarked remarks // what was said; only Next's

	device
}

var _ uart.Port = (*port)(nil)

// SetModem implements uart.Port: a pty has no modem lines.
func (p *port) SetModem(uart.ModemState) error { return uart.NotCarried(hostName, "set modem state") }

// ReportLine implements uart.Port: a pty's master cannot mark a byte as bad, nor show a break.
func (p *port) ReportLine(uart.LineState) error {
	return uart.NotCarried(hostName, "report line state")
}

// Fidelity implements uart.Port.
func (p *port) Fidelity() uart.Fidelity { return carried }

// Name implements uart.Port: the slave's device.
func (p *port) Name() string { return p.term.Name() }

// Retire implements uart.Port.
func (p *port) Retire() error { return p.claim.Retire() }

// Close implements uart.Port. The application's reads return end of file and its writes EIO, as on a USB adapter that
// was pulled out. When it returns, no goroutine of this package uses the port any more. It must not be called from
// Urgent.
func (p *port) Close() error {
	p.closing.Do(func() {
		p.noteEnd() // first: the watcher process opens the slave, which is nobody's open
		p.closeErr = p.claim.Release()
		p.end()
	})
	return p.closeErr
}

// settings is what a pty's termios says of the line: the fields that this host carries.
type settings struct {
	baud uint32 // 0: not said (B0)
	stop uart.StopBits
	flow uart.Flow
}

// firstSettings are those of a port that nobody has opened yet: what start gives the pty.
func firstSettings() settings {
	first := uart.DefaultCoding()
	return settings{first.Baud, first.StopBits, uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}
}

// over returns s, with base's baud rate where s says none.
func (s settings) over(base settings) settings {
	if s.baud == 0 {
		s.baud = base.baud
	}
	return s
}

// event is the change to s, with every field that this host carries.
func (s settings) event() uart.Event {
	return uart.Event{Kind: uart.KindSettings, Coding: uart.Coding{Baud: s.baud, StopBits: s.stop}, Flow: s.flow}
}

// remarks are what a user should be told of a termios, once a port.
type remarks struct {
	splitSpeed bool // input and output speed differ
	bothFlows  bool // CRTSCTS and IXON or IXOFF
}

// remark says once what a port cannot do as it was asked to.
func (p *port) remark(now remarks) {
	if now.splitSpeed && !p.remarked.splitSpeed {
		p.remarked.splitSpeed = true
		p.log.Warn("input and output speed differ; the output speed counts", "device", p.term.Name())
	}
	if now.bothFlows && !p.remarked.bothFlows {
		p.remarked.bothFlows = true
		p.log.Warn("RTS/CTS and XON/XOFF are both asked for; RTS/CTS counts", "device", p.term.Name())
	}
}
