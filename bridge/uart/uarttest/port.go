package uarttest

import (
	"sync"

	"telnetcpc/bridge/uart"
)

const (
	// upLimit is how many bytes of the application are queued for Next before AppWrite blocks.
	upLimit = 64 << 10
	// eventLimit is how many events are queued for Next before settings merge into the last one.
	eventLimit = 256
	// downLimit is how many bytes from the device are queued for AppRead before Write blocks: about what a tty buffers.
	downLimit = 16 << 10
	// pieceLimit is how many bytes Next returns at most.
	pieceLimit = 4096
)

// Port is a uart.Port without an operating system: the application is the test, which calls the App methods. It represents
// the hosts with full fidelity that queue what the application does (kernel tty, run), so that bridge tests need neither
// privileges nor a device. It is no model of a pty, which carries less.
//
// The App methods may be called from any goroutine, as several programs would. All waiting is on one condition variable
// and on timers, so a test may run it inside testing/synctest.
type Port struct {
	config uart.PortConfig

	opening sync.Mutex // serialises AppOpen and AppClose, including the call of Urgent; taken before mu

	mu      sync.Mutex // guards everything below
	changed sync.Cond  // anything below changed

	fidelity uart.Fidelity
	up       []item       // what the application did, oldest first
	upBytes  int          // data bytes in up
	events   int          // events in up
	lent     []byte       // what the last Next returned
	holders  int          // AppOpens without AppClose
	down     []byte       // written by the device, not read by the application
	written  uint64       // bytes given to the application in all
	dropped  uint64       // bytes that Write dropped
	merged   int          // settings that merged into the event before
	driven   uart.Control // the state of the control lines as last queued
	hupclOff bool         // the last close leaves the lines as they are
	modem    uart.ModemState
	modems   []uart.ModemState
	reports  []LineReport
	retired  bool
	err      error // why the port has ended: ErrClosed, or the argument of Fail
}

// item is one element of the stream: bytes, or an event.
type item struct {
	data  []byte
	event uart.Event
}

// LineReport is one call of ReportLine and its place in the data.
type LineReport struct {
	State uart.LineState
	At    uint64 // bytes given to the application before it
}

var _ uart.Port = (*Port)(nil)

// NewPort returns a port with full fidelity that no application has open. Of config it uses Path, Unsent and Urgent.
func NewPort(config uart.PortConfig) *Port {
	p := &Port{config: config, fidelity: uart.FullFidelity}
	p.changed.L = &p.mu
	return p
}

// SetFidelity changes what the port claims to carry, and so what it reports: settings that it lacks never reach Next.
// Call it before the port is used.
func (p *Port) SetFidelity(f uart.Fidelity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fidelity = f
}

// Next implements uart.Port. It overwrites the bytes that it lent before, so that a caller that keeps them is caught.
func (p *Port) Next() ([]byte, uart.Event, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.lent {
		p.lent[i] = 0xDB
	}
	p.lent = nil
	p.changed.Broadcast()
	for len(p.up) == 0 && p.err == nil {
		p.changed.Wait()
	}
	if p.err != nil {
		return nil, uart.Event{}, p.err
	}
	first := p.up[0]
	p.up = p.up[1:]
	if first.data == nil {
		p.events--
		p.changed.Broadcast()
		return nil, first.event, nil
	}
	p.upBytes -= len(first.data)
	p.lent = first.data
	p.changed.Broadcast()
	return first.data, uart.Event{}, nil
}

// Write implements uart.Port: it blocks while downLimit bytes are queued for AppRead.
func (p *Port) Write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n < len(b) {
		for p.err == nil && p.holders > 0 && len(p.down) >= downLimit {
			p.changed.Wait()
		}
		switch {
		case p.err != nil:
			return n, p.err
		case p.holders == 0:
			p.dropped += uint64(len(b) - n)
			return n, nil
		}
		m := min(len(b)-n, downLimit-len(p.down))
		p.down = append(p.down, b[n:n+m]...)
		p.written += uint64(m)
		n += m
		p.changed.Broadcast()
	}
	return n, p.err
}

// SetModem implements uart.Port and records the state for Modems and AppModem.
func (p *Port) SetModem(m uart.ModemState) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if !p.fidelity.Carries(uart.CarriesModem) {
		return uart.NotCarried("fake", "set modem state")
	}
	p.modem = m
	p.modems = append(p.modems, m)
	p.changed.Broadcast()
	return nil
}

// ReportLine implements uart.Port and records the state and its place for Reports.
func (p *Port) ReportLine(l uart.LineState) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if l&uart.LineBreak != 0 && !p.fidelity.Carries(uart.CarriesBreakIn) {
		return uart.NotCarried("fake", "report break")
	}
	if l&(uart.LineErrors&^uart.LineBreak) != 0 && !p.fidelity.Carries(uart.CarriesLineErrors) {
		return uart.NotCarried("fake", "report line errors")
	}
	p.reports = append(p.reports, LineReport{State: l, At: p.written})
	p.changed.Broadcast()
	return nil
}

// Fidelity implements uart.Port.
func (p *Port) Fidelity() uart.Fidelity {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fidelity
}

// Name implements uart.Port: "fake", and the path if the configuration has one.
func (p *Port) Name() string {
	if p.config.Path == "" {
		return "fake"
	}
	return "fake " + p.config.Path
}

// Retire implements uart.Port: from now on AppOpen fails.
func (p *Port) Retire() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	p.changed.Broadcast()
	return nil
}

// Close implements uart.Port: AppRead and AppWrite fail as on a port that was unplugged.
func (p *Port) Close() error {
	p.Fail(uart.ErrClosed)
	return nil
}

// Fail ends the port as if its adapter were unplugged: every blocked and later call returns err. Only the first call of
// Fail or Close counts.
func (p *Port) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	if p.err == nil {
		p.err = err
	}
	p.changed.Broadcast()
}

// Modems returns every state that SetModem was given, oldest first.
func (p *Port) Modems() []uart.ModemState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]uart.ModemState(nil), p.modems...)
}

// Reports waits until ReportLine has been called at least n times, or the port has ended, and returns all calls.
func (p *Port) Reports(n int) []LineReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && len(p.reports) < n {
		p.changed.Wait()
	}
	return append([]LineReport(nil), p.reports...)
}

// Counts returns how many bytes Write has given to the application and how many it dropped.
func (p *Port) Counts() (given, dropped uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written, p.dropped
}

// Merged returns how many changes of settings merged into the one before.
func (p *Port) Merged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.merged
}

// Waiting returns how many bytes of the application Next has not returned yet.
func (p *Port) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.upBytes
}

// Retired reports whether Retire, Close or Fail was called.
func (p *Port) Retired() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.retired
}

// Closed reports whether the port has ended: closed, or lost by Fail.
func (p *Port) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}

// usable reports whether the application has an open port; the caller holds mu.
func (p *Port) usable() bool { return p.err == nil && p.holders > 0 }

// push appends an event; the caller holds mu.
func (p *Port) push(e uart.Event) {
	p.up = append(p.up, item{event: e})
	p.events++
	p.changed.Broadcast()
}

// pushData appends a copy of b, in pieces; the caller holds mu.
func (p *Port) pushData(b []byte) {
	p.upBytes += len(b)
	for len(b) > 0 {
		n := min(len(b), pieceLimit)
		p.up = append(p.up, item{data: append([]byte(nil), b[:n]...)})
		b = b[n:]
	}
	p.changed.Broadcast()
}

// dropUp removes all bytes from the queue and keeps the events; the caller holds mu.
func (p *Port) dropUp() {
	var kept []item
	for _, it := range p.up {
		if it.data == nil {
			kept = append(kept, it)
		}
	}
	p.up, p.upBytes = kept, 0
}

// urgent calls the configuration's Urgent. The caller does not hold mu, because Urgent may call the port.
func (p *Port) urgent(e uart.Event) {
	if p.config.Urgent != nil {
		p.config.Urgent(e)
	}
}

// carried returns a change of settings without the fields that a fidelity lacks.
func carried(f uart.Fidelity, e uart.Event) uart.Event {
	if !f.Carries(uart.CarriesBaud) {
		e.Coding.Baud = 0
	}
	if !f.Carries(uart.CarriesDataBits) || e.Coding.DataBits == 6 && !f.Carries(uart.CarriesSixBits) {
		e.Coding.DataBits = 0
	}
	if !f.Carries(uart.CarriesParity) {
		e.Coding.Parity = 0
	}
	if !f.Carries(uart.CarriesStopBits) {
		e.Coding.StopBits = 0
	}
	if !f.Carries(uart.CarriesFlow) || apart(e.Flow) && !f.Carries(uart.CarriesFlowApart) {
		e.Flow = uart.Flow{}
	}
	if !f.Carries(uart.CarriesDTR) {
		e.Control.DTR = 0
	}
	if !f.Carries(uart.CarriesRTS) {
		e.Control.RTS = 0
	}
	if !f.Carries(uart.CarriesBreak) {
		e.Control.Break = 0
	}
	return e
}
