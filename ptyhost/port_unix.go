//go:build linux || darwin || freebsd

package ptyhost

import (
	"log/slog"
	"sync"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/devpath"
)

// port is one pty whose slave the application opens. What differs between systems is in device: how Next waits, and how
// it detects opens, closes and changes of termios.
type port struct {
	claim  *devpath.Claim // on the path
	urgent func(uart.Event)
	log    *slog.Logger

	closing  sync.Once
	closeErr error // from releasing the claim; constant after closing

	warned warnings // used only by Next

	device
}

var _ uart.Port = (*port)(nil)

// SetModem implements uart.Port: a pty has no modem lines.
func (p *port) SetModem(uart.ModemState) error { return uart.NotCarried(hostName, "set modem state") }

// ReportLine implements uart.Port: a pty's master can neither flag a byte as bad nor send a break.
func (p *port) ReportLine(uart.LineState) error {
	return uart.NotCarried(hostName, "report line state")
}

// Fidelity implements uart.Port.
func (p *port) Fidelity() uart.Fidelity { return carried }

// Name implements uart.Port: the slave's device.
func (p *port) Name() string { return p.term.Name() }

// Retire implements uart.Port.
func (p *port) Retire() error { return p.claim.Retire() }

// Close implements uart.Port. The application's reads return end of file and its writes fail with EIO, as on an
// unplugged USB adapter. When it returns, no goroutine of this package uses the port any more. It must not be called
// from Urgent.
func (p *port) Close() error {
	p.closing.Do(func() {
		p.noteClose() // first, because Release makes the watcher process open the slave, which is not a program's open
		p.closeErr = p.claim.Release()
		p.closeDevice()
	})
	return p.closeErr
}

// settings are the parts of a termios that this host carries.
type settings struct {
	baud uint32 // 0: not set (B0)
	stop uart.StopBits
	flow uart.Flow
}

// firstSettings returns the settings of a new port.
func firstSettings() settings {
	first := uart.DefaultCoding()
	return settings{first.Baud, first.StopBits, uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}
}

// settingsOf returns the settings in a termios. Data bits and parity are not part of it: the kernel forces CS8 and
// clears PARENB on Linux (pty_set_termios in drivers/tty/pty.c). With B0, which drops the DTR and RTS that a pty does
// not have, the baud rate is unset.
func settingsOf(t *unix.Termios) settings {
	c := termios.Coding(t)
	return settings{c.Baud, c.StopBits, termios.Flow(t)}
}

// over returns s, with base's baud rate if s has none.
func (s settings) over(base settings) settings {
	if s.baud == 0 {
		s.baud = base.baud
	}
	return s
}

// event returns the event for a change to s, with every field that this host carries set.
func (s settings) event() uart.Event {
	return uart.Event{Kind: uart.KindSettings, Coding: uart.Coding{Baud: s.baud, StopBits: s.stop}, Flow: s.flow}
}

// warnings are those that a port has logged; each is logged once.
type warnings struct {
	splitSpeed, bothFlows bool
}

// warn logs settings of a termios that cannot be carried, each once per port. Only Next calls it.
func (p *port) warn(t *unix.Termios) {
	if !p.warned.splitSpeed && termios.SplitSpeed(t) {
		p.warned.splitSpeed = true
		p.log.Warn("input and output speed differ; the output speed is used", "device", p.term.Name())
	}
	if !p.warned.bothFlows && termios.BothFlows(t) {
		p.warned.bothFlows = true
		p.log.Warn("RTS/CTS and XON/XOFF are both set; RTS/CTS is used", "device", p.term.Name())
	}
}
