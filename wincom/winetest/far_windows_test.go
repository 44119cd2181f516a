package winetest

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// far is an access server in this process that serves a simulated UART with a loopback plug and records what the UART does.
// It can be stopped and started again at the same address.
type far struct {
	t       *testing.T
	address string
	log     testenv.Output
	end     func() // stops the server and waits for it; idempotent

	mu      sync.Mutex // guards the rest
	records []simulate.Record
	device  *overridable // of the current or the last client
	opened  int          // by clients
}

func newFar(t *testing.T) *far {
	f := &far{t: t, address: "127.0.0.1:0"}
	f.start()
	t.Cleanup(func() {
		f.end()
		if t.Failed() {
			t.Logf("log of the access server:\n%s", f.log.String())
		}
	})
	return f
}

func (f *far) start() {
	f.t.Helper()
	var l net.Listener
	eventually(f.t, "the server's address is free", func() (err error) {
		l, err = tcp.Listen(f.t.Context(), f.address)
		return err
	})
	f.address = l.Addr().String()
	loop := new(simulate.Loopback)
	loop.Observe(f.observe)
	server := accessserver.New(accessserver.Config{
		Log: slog.New(slog.NewTextHandler(&f.log, nil)),
		Open: func(ctx context.Context) (uart.Device, error) {
			d, err := loop.Open(ctx)
			if err != nil {
				return nil, err
			}
			p := newOverridable(d)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.device = p
			f.opened++
			return p, nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // until end
		defer close(done)
		if err := server.Serve(ctx, l); err != nil {
			f.t.Error(err)
		}
	}()
	f.end = func() {
		cancel()
		<-done
	}
}

func (f *far) observe(r simulate.Record) {
	r.Data = slices.Clone(r.Data)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records = append(f.records, r)
}

// recorded returns what the UART has done.
func (f *far) recorded() []simulate.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.records)
}

// count returns how many events of this kind the UART has had.
func (f *far) count(k uart.Kind) (n int) {
	for _, r := range f.recorded() {
		if r.Event.Kind == k && r.Data == nil {
			n++
		}
	}
	return n
}

// clients returns how many clients have opened the UART.
func (f *far) clients() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened
}

// inForce returns the UART's current settings.
func (f *far) inForce() (e uart.Event) {
	for _, r := range f.recorded() {
		switch r.Event.Kind {
		case uart.KindOpened:
			e = uart.Event{}
		case uart.KindSettings:
			e.Coding = r.Coding
			e.Control = r.Event.Control.Over(e.Control)
		}
	}
	return e
}

// sent returns every byte that has left the UART.
func (f *far) sent() (all []sentByte) {
	for _, r := range f.recorded() {
		for _, b := range r.Data {
			all = append(all, sentByte{b, r.Coding})
		}
	}
	return all
}

// setModem sets the UART's modem inputs as a device would.
func (f *far) setModem(m uart.ModemState) {
	f.mu.Lock()
	d := f.device
	f.mu.Unlock()
	d.setModem(m)
}

// overridable is a UART whose modem inputs a test can set: after the first setModem the loopback plug no longer sets them.
type overridable struct {
	uart.Device
	from chan received        // what the UART's Next returns
	set  chan uart.ModemState // from setModem to Next
	done chan struct{}        // closed by Close
	once sync.Once

	mu         sync.Mutex // guards the rest
	overridden bool
	modem      uart.ModemState
}

type received struct {
	p   []byte
	e   uart.Event
	err error
}

func newOverridable(d uart.Device) *overridable {
	p := &overridable{Device: d, from: make(chan received), set: make(chan uart.ModemState), done: make(chan struct{})}
	go p.read() // until Close
	return p
}

// read passes what the UART's Next returns to Next, until the UART is closed.
func (p *overridable) read() {
	for {
		b, e, err := p.Device.Next()
		select {
		case p.from <- received{slices.Clone(b), e, err}:
		case <-p.done:
			return
		}
		if err != nil {
			return
		}
	}
}

// Next implements uart.Device.
func (p *overridable) Next() ([]byte, uart.Event, error) {
	for {
		select {
		case r := <-p.from:
			if r.e.Kind == uart.KindModem && p.isOverridden() {
				continue
			}
			return r.p, r.e, r.err
		case m := <-p.set:
			return nil, uart.Event{Kind: uart.KindModem, Modem: m}, nil
		case <-p.done:
			return nil, uart.Event{}, uart.ErrClosed
		}
	}
}

func (p *overridable) isOverridden() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.overridden
}

// Modem implements uart.Device.
func (p *overridable) Modem() uart.ModemState {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.overridden {
		return p.modem
	}
	return p.Device.Modem()
}

func (p *overridable) setModem(m uart.ModemState) {
	p.mu.Lock()
	p.overridden, p.modem = true, m
	p.mu.Unlock()
	select {
	case p.set <- m:
	case <-p.done:
	}
}

// Close implements uart.Device.
func (p *overridable) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.Device.Close()
}
