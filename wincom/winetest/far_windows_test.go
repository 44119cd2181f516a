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
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// far is an access server in this process in front of a simulated UART with a loop plug: it knows all that its UART did.
// It can be ended and started again at the same address.
type far struct {
	t       *testing.T
	address string
	log     uarttest.Output
	end     func() // ends the server and waits for it; may be called again

	mu      sync.Mutex // over what follows
	records []simulate.Record
	device  *pulled // the present client's, or the last one's
	opened  int     // how many clients had one
}

func newFar(t *testing.T) *far {
	f := &far{t: t, address: "127.0.0.1:0"}
	f.start()
	t.Cleanup(func() {
		f.end()
		if t.Failed() {
			t.Logf("the access server said:\n%s", f.log.String())
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
			p := pull(d)
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

// seen is what the UART did so far.
func (f *far) seen() []simulate.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.records)
}

// count is how often the UART did something of this kind.
func (f *far) count(k uart.Kind) (n int) {
	for _, r := range f.seen() {
		if r.Event.Kind == k && r.Data == nil {
			n++
		}
	}
	return n
}

// clients is how many have had the UART so far.
func (f *far) clients() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened
}

// inForce is what the UART was last told.
func (f *far) inForce() (e uart.Event) {
	for _, r := range f.seen() {
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

// sent is every byte that left the UART.
func (f *far) sent() (all []sentByte) {
	for _, r := range f.seen() {
		for _, b := range r.Data {
			all = append(all, sentByte{b, r.Coding})
		}
	}
	return all
}

// setModem shows a modem state at the UART as a device would.
func (f *far) setModem(m uart.ModemState) {
	f.mu.Lock()
	d := f.device
	f.mu.Unlock()
	d.setModem(m)
}

// pulled is a UART whose lines a test drives beside its loop plug: from the first setModem on they are the test's.
type pulled struct {
	uart.Device
	from chan received // what the loop plug gave
	set  chan uart.ModemState
	done chan struct{}
	once sync.Once

	mu    sync.Mutex
	taken bool // the lines are the test's
	modem uart.ModemState
}

type received struct {
	p   []byte
	e   uart.Event
	err error
}

func pull(d uart.Device) *pulled {
	p := &pulled{Device: d, from: make(chan received), set: make(chan uart.ModemState), done: make(chan struct{})}
	go p.read()
	return p
}

// read hands on what the loop plug gives, until the UART is closed.
func (p *pulled) read() {
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
func (p *pulled) Next() ([]byte, uart.Event, error) {
	for {
		select {
		case r := <-p.from:
			if r.e.Kind == uart.KindModem && p.isTaken() {
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

func (p *pulled) isTaken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// Modem implements uart.Device.
func (p *pulled) Modem() uart.ModemState {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken {
		return p.modem
	}
	return p.Device.Modem()
}

func (p *pulled) setModem(m uart.ModemState) {
	p.mu.Lock()
	p.taken, p.modem = true, m
	p.mu.Unlock()
	select {
	case p.set <- m:
	case <-p.done:
	}
}

// Close implements uart.Device.
func (p *pulled) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.Device.Close()
}
