//go:build unix

package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/loglimit"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// port is a fake port that drops reports of modem and line state: uarttest.Port would keep them without a limit.
type port struct {
	*uarttest.Port
}

func (p port) SetModem(uart.ModemState) error  { return nil }
func (p port) ReportLine(uart.LineState) error { return nil }

// application is a program that reads all the time, until stop is called.
type application struct {
	port   port
	closed chan struct{} // its reader has ended
	writes sync.WaitGroup

	mu      sync.Mutex
	change  sync.Cond
	last    []byte // what arrived after the text that expect found last
	stopped bool
	end     bool
}

func newApplication(p port) *application {
	a := &application{port: p, closed: make(chan struct{})}
	a.change.L = &a.mu
	return a
}

// open opens the port, sets a line coding and starts to read.
func (a *application) open() {
	a.port.AppOpen()
	go a.read() // ends when the port is closed
	a.port.AppSet(uart.Event{Coding: uart.Coding{Baud: 19200, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}})
}

func (a *application) read() {
	defer close(a.closed)
	buf := make([]byte, 4<<10)
	for a.mayRead() {
		n, err := a.port.AppRead(buf)
		a.mu.Lock()
		if len(a.last)+n > 32<<10 { // more than any text that expect waits for
			a.last = append(a.last[:0], a.last[len(a.last)-min(len(a.last), 1<<10):]...)
		}
		a.last = append(a.last, buf[:n]...)
		a.end = a.end || err != nil && a.port.Closed()
		a.change.Broadcast()
		a.mu.Unlock()
	}
}

// mayRead waits while the application is stopped, and reports whether it goes on.
func (a *application) mayRead() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.stopped && !a.end {
		a.change.Wait()
	}
	return !a.end
}

// stop stops reading.
func (a *application) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
}

// wait waits until reader and writers have ended. The port must be closed.
func (a *application) wait() {
	a.mu.Lock()
	a.end = true
	a.change.Broadcast()
	a.mu.Unlock()
	<-a.closed
	a.writes.Wait()
}

// expect waits until a text of the device has arrived.
func (a *application) expect(text string) error {
	late := time.AfterFunc(testenv.Patience, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.change.Broadcast()
	})
	defer late.Stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for began := time.Now(); ; a.change.Wait() {
		if at := bytes.Index(a.last, []byte(text)); at >= 0 {
			a.last = append(a.last[:0], a.last[at+len(text):]...)
			return nil
		}
		switch {
		case a.end:
			return fmt.Errorf("the port is closed, and the application has not received %q", text)
		case time.Since(began) >= testenv.Patience:
			return fmt.Errorf("the application has not received %q in %v", text, testenv.Patience)
		}
	}
}

// write writes in a goroutine, which ends with the port at the latest.
func (a *application) write(p []byte) {
	a.writes.Go(func() { _, _ = a.port.AppWrite(p) })
}

// side is one bridge with its fake port.
type side struct {
	bridge *bridge.Bridge
	log    *logbook
	port   port
	dials  *dials
	cancel context.CancelFunc
	ended  chan error
}

// attach starts a bridge to a server at this address.
func attach(g *game, name, address string) *side {
	g.t.Helper()
	log := &logbook{began: time.Now()}
	url, err := remote.Parse("rfc2217://" + address)
	if err != nil {
		g.t.Fatal(err)
	}
	limited := func() *loglimit.Handler { return loglimit.New(slogTo(log).Handler(), 6) } // as bridge/agent does
	peer := limited()
	far, err := remote.New(url, remote.Options{AckTimeout: time.Second, Log: slog.New(peer)})
	if err != nil {
		g.t.Fatal(err)
	}
	s := &side{log: log, dials: &dials{Remote: far}, ended: make(chan error, 1)}
	made := make(chan port, 1)
	s.bridge = bridge.New(bridge.Config{
		Name: name, Path: "/dev/" + name, Remote: s.dials, Log: slogTo(log), Peer: peer, Losses: limited(),
		Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
			p := port{uarttest.NewPort(c)}
			made <- p
			return p, nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() { s.ended <- s.bridge.Run(ctx) }()
	s.port = <-made
	return s
}

// end ends the bridge and returns how long that took.
func (s *side) end() (time.Duration, error) {
	began := time.Now()
	s.cancel()
	select {
	case err := <-s.ended:
		return time.Since(began), err
	case <-time.After(testenv.Patience):
		return time.Since(began), fmt.Errorf("the bridge does not end")
	}
}

// dials is a bridge.Remote that measures how long each Dial takes.
type dials struct {
	bridge.Remote

	mu      sync.Mutex
	began   time.Time // of the present Dial; zero if there is none
	longest time.Duration
}

func (d *dials) Dial(ctx context.Context, mask uart.LineState) (uart.Session, error) {
	d.mu.Lock()
	d.began = time.Now()
	d.mu.Unlock()
	s, err := d.Remote.Dial(ctx, mask)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.longest = max(d.longest, time.Since(d.began))
	d.began = time.Time{}
	return s, err
}

// most returns the longest Dial until now, including the present one.
func (d *dials) most() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.began.IsZero() {
		return max(d.longest, time.Since(d.began))
	}
	return d.longest
}

// handoff is a listener whose connections come from give.
type handoff struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newHandoff(at net.Addr) *handoff {
	return &handoff{address: at, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (h *handoff) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		_ = c.Close()
	}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Addr() net.Addr { return h.address }

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// honest serves a loop plug on l until end is called.
func honest(g *game, l net.Listener) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	plug := &simulate.Loopback{}
	s := accessserver.New(accessserver.Config{Open: plug.Open, Log: slogTo(&logbook{})})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			g.t.Errorf("the honest server: %v", err)
		}
	}
}

// bystander is a session with an honest server. It measures round trips.
type bystander struct {
	*side
	stop chan struct{}
	over chan struct{} // its last round trip is done

	mu      sync.Mutex
	trips   []time.Duration
	pending time.Time // when the present round trip began
	err     error
}

const tripPause = 5 * time.Millisecond // between two round trips, so that they hardly load the machine

func newBystander(g *game, address string) *bystander {
	b := &bystander{side: attach(g, "ttyV1", address), stop: make(chan struct{}), over: make(chan struct{}), trips: make([]time.Duration, 0, 1<<14)}
	b.port.AppOpen()
	b.port.AppSet(uart.Event{Coding: uart.Coding{Baud: 20_000_000, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}})
	go b.run() // ends when stop or the port is closed
	return b
}

func (b *bystander) run() {
	defer close(b.over)
	for n := uint64(0); ; n++ {
		began := time.Now()
		b.mu.Lock()
		b.pending = began
		b.mu.Unlock()
		err := b.trip(n)
		b.mu.Lock()
		if err != nil {
			b.err = err
			b.mu.Unlock()
			return
		}
		if len(b.trips) < cap(b.trips) {
			b.trips = append(b.trips, time.Since(began))
		}
		b.mu.Unlock()
		select {
		case <-time.After(tripPause):
		case <-b.stop:
			return
		}
	}
}

// leave ends the round trips and the bridge.
func (b *bystander) leave() error {
	close(b.stop)
	select {
	case <-b.over:
	case <-time.After(standstill): // the end of the port ends it
	}
	b.port.AppClose()
	_, err := b.end()
	<-b.over
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(err, b.err)
}

func (b *bystander) trip(n uint64) error {
	var sent, got [8]byte
	binary.BigEndian.PutUint64(sent[:], n)
	if _, err := b.port.AppWrite(sent[:]); err != nil {
		return err
	}
	for have := 0; have < len(got); {
		n, err := b.port.AppRead(got[have:])
		if err != nil {
			return err
		}
		have += n
	}
	if got != sent {
		return fmt.Errorf("round trip %d: got %x, want %x: %w", n, got, sent, io.ErrUnexpectedEOF)
	}
	return nil
}

// done returns how many round trips were made.
func (b *bystander) done() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.trips)
}

// since returns median and count of the round trips from a number on, and how long the present one has taken.
func (b *bystander) since(from int) (median, pending time.Duration, count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	some := slices.Clone(b.trips[from:])
	slices.Sort(some)
	if len(some) > 0 {
		median = some[len(some)/2]
	}
	return median, time.Since(b.pending), len(some)
}
