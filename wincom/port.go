package wincom

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"telnetcpc/bridge/uart"
)

// readSize is the most that one read of the device returns.
const readSize = 8 << 10

// port is the agent's end of one pair.
type port struct {
	// Constant once start has returned, so every goroutine may read them.
	dev            Device
	ends           Ends
	urgent         func(uart.Event)
	log            *slog.Logger
	fidelity       uart.Fidelity
	options        uint32      // of LsrMstInsert: the records that this driver inserts
	dtr, rts, open reading     // where the agent's pins show what the application drives
	plain          bool        // the device belongs to another driver; see plain.go
	pinned         uart.Coding // the application's coding if plain

	next     nextState // only Next's; before the first Next, start's
	presence presence  // shared by Next, Write and the poller; has its own lock

	modemMu sync.Mutex // serialises SetModem, so that the application is left with the last state

	closing  sync.Once
	closed   atomic.Bool // Close was called: a failed request means ErrClosed
	closeErr error       // from closing dev; constant after closing
}

var _ uart.Port = (*port)(nil)

func newPort(dev Device, ends Ends, config uart.PortConfig) *port {
	p := &port{dev: dev, ends: ends, urgent: config.Urgent, log: config.Log, pinned: config.Pinned}
	if p.urgent == nil {
		p.urgent = func(uart.Event) {}
	}
	p.setReadings()
	p.next.reported = uart.DefaultCoding()
	p.initPresence()
	return p
}

// setReadings sets where the agent's end reads the application's DTR, RTS and open.
func (p *port) setReadings() {
	pins := p.ends.AgentPins
	p.dtr, p.rts, p.open = pins.readingOf(PinRDTR), pins.readingOf(PinRRTS), pins.readingOf(PinROPEN)
}

// Fidelity implements uart.Port.
func (p *port) Fidelity() uart.Fidelity { return p.fidelity }

// Name implements uart.Port: the application's end.
func (p *port) Name() string { return p.ends.Application }

// Retire implements uart.Port: the ends exist as long as the pair does.
func (p *port) Retire() error { return uart.NotCarried(hostName, "remove "+p.ends.Application) }

// Close implements uart.Port. The application keeps its end open: it sees DSR, CTS and DCD drop, its reads return nothing
// and its writes block, until the port is opened again. When Close returns, no goroutine of this package uses the port any
// more. It must not be called from Urgent.
func (p *port) Close() error {
	p.closing.Do(func() {
		p.closed.Store(true)
		p.closeErr = p.dev.Close()
		p.stopPoller()
	})
	return p.closeErr
}

// failed returns the port's error for a device's error: ErrClosed after Close.
func (p *port) failed(operation string, err error) error {
	if p.closed.Load() || errors.Is(err, ErrDeviceClosed) {
		return uart.ErrClosed
	}
	return fmt.Errorf("port %s: %s %s, its other end: %w", p.ends.Application, operation, p.ends.Agent, err)
}

// ioctl makes a request that returns no data.
func (p *port) ioctl(code Ioctl, in []byte) error {
	if _, err := p.dev.Ioctl(code, in, nil); err != nil {
		return fmt.Errorf("%v of %s: %w", code, p.ends.Agent, err)
	}
	return nil
}
