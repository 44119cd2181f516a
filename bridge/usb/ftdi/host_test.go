package ftdi_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/bridge/usb/ftdi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestChipAsHost: the chip and a driver make a host that passes the suite of the real hosts.
func TestChipAsHost(t *testing.T) {
	h := &host{ports: make(map[string]*port)}
	uarttest.TestHost(t, h, programs{h})
}

// host does for a chip what kerneltty does: it plugs chips into drivers, and names them. It is the programs' side too.
type host struct {
	mu    sync.Mutex
	n     int
	ports map[string]*port
}

func (h *host) Name() string            { return "chip" }
func (h *host) Check() error            { return nil }
func (h *host) Virtual() bool           { return true }
func (h *host) Fidelity() uart.Fidelity { return ftdi.New(uart.PortConfig{}, "", nil).Fidelity() }

func (h *host) Path(*testing.T) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	return fmt.Sprintf("chip%d", h.n)
}

// Open implements uart.Host.
func (h *host) Open(_ context.Context, config uart.PortConfig) (uart.Port, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ports[config.Path] != nil {
		return nil, errors.New("another port is served there")
	}
	p := &port{Chip: ftdi.New(config, config.Path, nil), host: h, path: config.Path}
	dev, wire := net.Pipe()
	p.wg.Go(func() { _ = p.Serve(dev) })
	p.driver = newDriver(wire)
	if err := p.driver.probe(); err != nil {
		return nil, err
	}
	h.ports[config.Path] = p
	return p, nil
}

type port struct {
	*ftdi.Chip
	host   *host
	path   string
	driver *driver
	wg     sync.WaitGroup
}

func (p *port) Name() string { return p.path }

func (p *port) Retire() error {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if p.host.ports[p.path] == p {
		delete(p.host.ports, p.path)
	}
	return nil
}

func (p *port) Close() error {
	_ = p.Retire()
	err := p.Chip.Close()
	p.wg.Wait()
	p.driver.end()
	return err
}

// programs opens the ports of a host as programs do, at its drivers.
type programs struct{ *host }

// Open implements uarttest.Programs.
func (h programs) Open(path string) (uarttest.Program, error) {
	h.mu.Lock()
	p := h.ports[path]
	h.mu.Unlock()
	if p == nil {
		return nil, errors.New("no such port")
	}
	if err := p.driver.open(); err != nil {
		return nil, err
	}
	return &program{driver: p.driver}, nil
}

// program is a program that has the port open.
type program struct {
	driver *driver
	close  sync.Once
}

func (p *program) Read(b []byte) (int, error)  { return p.driver.read(b) }
func (p *program) Write(b []byte) (int, error) { return p.driver.write(b) }
func (p *program) Close() error                { p.close.Do(p.driver.closes); return nil }
func (p *program) Set(e uart.Event) error      { p.driver.set(e); return nil }
func (p *program) Purge(uart.Purge) error      { return nil } // Linux does not announce it to the adapter
func (p *program) Drain() error                { return p.driver.drain() }
func (p *program) HangUpOnClose(on bool) error { p.driver.hupcl = on; return nil }

func (p *program) Modem() (uart.ModemState, error) {
	status, err := p.driver.modemStatus()
	return uart.ModemState(status[0] & 0xf0), err
}

func (p *program) LineErrors() (uart.LineState, error) {
	p.driver.mu.Lock()
	defer p.driver.mu.Unlock()
	return p.driver.errors, nil
}
