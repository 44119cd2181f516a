package wincom

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"telnetcpc/bridge/uart"
)

// readSize is how much one read takes at most.
const readSize = 8 << 10

// port is the agent's end of one pair.
type port struct {
	dev      Device
	ends     Ends
	urgent   func(uart.Event)
	log      *slog.Logger
	fidelity uart.Fidelity
	options  uint32 // of LsrMstInsert: the records that this driver inserts

	dtr, rts, open reading // how the agent's pins tell them

	plain  bool        // the device is another driver's; see plain.go
	pinned uart.Coding // counts there

	up   // next.go
	life // life.go

	modemMu sync.Mutex // keeps modem states in the order of their calls

	closing sync.Once
	closed  atomic.Bool
	closeEr error // of the device's close
}

var _ uart.Port = (*port)(nil)

func newPort(dev Device, ends Ends, config uart.PortConfig) *port {
	p := &port{dev: dev, ends: ends, urgent: config.Urgent, log: config.Log, pinned: config.Pinned}
	if p.urgent == nil {
		p.urgent = func(uart.Event) {}
	}
	p.readPins()
	p.told = uart.DefaultCoding()
	p.lifeInit()
	return p
}

// readPins looks where the agent's end can read what the application drives.
func (p *port) readPins() {
	pins := p.ends.AgentPins
	p.dtr, p.rts, p.open = pins.reads(PinRDTR), pins.reads(PinRRTS), pins.reads(PinROPEN)
}

// Fidelity implements uart.Port.
func (p *port) Fidelity() uart.Fidelity { return p.fidelity }

// Name implements uart.Port: the application's end.
func (p *port) Name() string { return p.ends.Application }

// Retire implements uart.Port: the pair's ends are there as long as the pair is.
func (p *port) Retire() error { return uart.NotCarried(hostName, "take "+p.ends.Application+" away") }

// Close implements uart.Port. The application keeps its end open: it sees DSR, CTS and DCD fall, its reads find nothing
// and its writes wait, until the port is made again. When it returns, no goroutine of this package uses the port any more.
// It must not be called from Urgent.
func (p *port) Close() error {
	p.closing.Do(func() {
		p.closed.Store(true)
		p.closeEr = p.dev.Close()
		p.lifeEnd()
	})
	return p.closeEr
}

// failed is what a call returns when the device's did: ErrClosed after Close.
func (p *port) failed(what string, err error) error {
	if p.closed.Load() || errors.Is(err, ErrDeviceClosed) {
		return uart.ErrClosed
	}
	return fmt.Errorf("port %s: %s %s, its other end: %w", p.ends.Application, what, p.ends.Agent, err)
}

// ioctl makes a request that has no answer.
func (p *port) ioctl(code Ioctl, in []byte) error {
	if _, err := p.dev.Ioctl(code, in, nil); err != nil {
		return fmt.Errorf("%v of %s: %w", code, p.ends.Agent, err)
	}
	return nil
}
