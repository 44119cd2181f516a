// Package bridge joins one serial port and one remote: what the application does to the port happens at the far
// UART, in order, over as many sessions as it takes; what the device does comes back. It owns the policies: when a
// session exists, what a loss means, when the last byte is out. It must not know which host makes the port, nor how a
// session speaks: it is handed a uart.Port and something that dials.
//
// Three goroutines a port: Run changes the state, dials and owns every timer; up carries the application's bytes and
// changes to the session; down carries the session's bytes and events to the port. See up.go and down.go for the way
// of a byte.
package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/uart"
)

// Remote is where sessions come from.
type Remote interface {
	// Dial returns a session that stands. mask is the line state that the port can show; 0: none.
	Dial(ctx context.Context, mask uart.LineState) (remote.Session, error)
	// Fidelity is what sessions of this remote carry at best.
	Fidelity() uart.Fidelity
	// String names the remote for people.
	String() string
}

// OpenPort makes the bridge's port. It is called again after a hangup. config comes with Unsent, Urgent and Log set.
type OpenPort func(ctx context.Context, config uart.PortConfig) (uart.Port, error)

// Config is what a bridge is made of.
type Config struct {
	Name   string // the port's name in log and status: ttyV0
	Path   string // the port's path, for status
	Open   OpenPort
	Remote Remote
	Policy Policy
	Log    *slog.Logger // nil: slog.Default()
}

// Bridge is one port joined to one remote.
type Bridge struct {
	cfg    Config
	policy Policy
	log    *slog.Logger

	link   link
	unsent unsent
	count  counters
	board  board
	tap    tap

	asleep atomic.Bool // Sleep was called, and Wake was not

	// kick tells Run that something it decides on has changed. One slot: whoever kicks never waits.
	kick chan struct{}

	said map[string]bool // warnings that were given; only down's
}

// New returns a bridge that does nothing until Run.
func New(cfg Config) *Bridge {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	b := &Bridge{cfg: cfg, policy: cfg.Policy.withDefaults(), log: cfg.Log, kick: make(chan struct{}, 1), said: map[string]bool{}}
	b.link.init(b.policy)
	b.board.set(func(s *Snapshot) {
		s.Name, s.Path, s.Remote, s.Link, s.Since = cfg.Name, cfg.Path, cfg.Remote.String(), LinkIdle, time.Now()
	})
	return b
}

// PortError says that the port could not be made.
type PortError struct {
	Port string
	Err  error
}

func (e *PortError) Error() string { return e.Err.Error() }
func (e *PortError) Unwrap() error { return e.Err }

// Run makes the port and joins it to its remote until the context ends (nil), the port cannot be made (*PortError), or
// it is lost for good. It is called once.
func (b *Bridge) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		r, err := b.open(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil // the end came while the port was made again
		default:
			return &PortError{Port: b.cfg.Name, Err: err}
		}
		if err := r.serve(ctx); err != nil {
			return fmt.Errorf("port %s is lost: %w", b.cfg.Name, err)
		}
	}
	return nil
}

// open makes the port, and what belongs to it.
func (b *Bridge) open(ctx context.Context) (*run, error) {
	r := &run{
		Bridge: b,
		done:   make(chan struct{}),
		next:   make(chan *session, 1),
		dialed: make(chan dialResult, 1),
		failed: make(chan error, 2),
	}
	port, err := b.cfg.Open(ctx, uart.PortConfig{
		Unsent: b.Unsent, Urgent: r.urgent, OpenWait: r.policy.OpenWait, Pinned: r.policy.Coding, Log: b.log,
	})
	if err != nil {
		return nil, err
	}
	r.port = port
	b.link.forget()
	return r, nil
}

// Unsent says how long the far UART still needs at least: uart.PortConfig.Unsent of this bridge's port.
func (b *Bridge) Unsent() time.Duration {
	s := b.link.current()
	if s == nil {
		return 0
	}
	left := b.unsent.left(s.Unacked())
	if b.unsent.sinceMark() > 0 && s.mark() {
		// The answer may say that it is sooner than computed, or that it is not yet.
		return markPoll
	}
	return left
}

func (b *Bridge) kickRun() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// run is the life of one opened port: from Open to Close, again after a hangup.
type run struct {
	*Bridge
	port uart.Port
	done chan struct{} // closed when the port is: ends every wait of up and down

	next   chan *session   // to down: the session to read after the present one
	dialed chan dialResult // from the dial under way
	failed chan error      // from up and down: the port is lost

	reading atomic.Pointer[session] // the session that down took last; for the end alone

	opened  atomic.Bool   // up has seen the port opened and not closed again
	visited atomic.Bool   // up has seen it opened; Run takes it back: a program that came and went wants a session too
	holding atomic.Bool   // up waits for a link with bytes in hand
	writing atomic.Uint64 // bytes inside Session.Write, given or not; for the upper bound of a loss
	place   atomic.Uint64 // odd while up stands in Port.Next, and changed by every Next; for the close alone

	// Called out by Urgent, and come from Next: up drops bytes in hand while more purges were called out than came,
	// and while closes up to abandon did not come.
	purgesCalled, purgesSeen atomic.Uint64
	closesCalled, closesSeen atomic.Uint64
	abandon                  atomic.Uint64

	readyMu sync.Mutex // over ready
	ready   []func(error)

	modemMu sync.Mutex // makes "which state, then SetModem" one step for Run and down
	device  uart.ModemState

	state machine // only Run's
}

// serve runs up and down until the context ends (nil), the policy hangs up (nil), or the port is lost.
func (r *run) serve(ctx context.Context) error {
	r.announce()
	var ways sync.WaitGroup
	ways.Go(func() { r.up() })   // ends when the port is closed
	ways.Go(func() { r.down() }) // ends when the port is closed
	err := r.loop(ctx)
	r.opened.Store(false)
	r.finish(err == nil && ctx.Err() != nil)
	ways.Wait()
	r.collect()
	r.board.set(func(s *Snapshot) { s.Opened = false })
	r.board.link(LinkIdle)
	if errors.Is(err, errHangup) {
		return nil
	}
	return err
}

// announce says what the port is, and what it and its remote together cannot carry.
func (r *run) announce() {
	both := r.port.Fidelity() & r.cfg.Remote.Fidelity()
	r.board.set(func(s *Snapshot) { s.Device, s.Missing = r.port.Name(), both.Missing() })
	r.log.Info("port ready", "path", r.cfg.Path, "device", r.port.Name(), "remote", r.cfg.Remote.String())
	var pinned uart.Feature
	if r.policy.Coding.DataBits != 0 {
		pinned = uart.CarriesDataBits | uart.CarriesSixBits | uart.CarriesParity
	}
	if missing := both.Missing().Without(pinned); missing != 0 {
		args := []any{"missing", missing.String()}
		if missing&uart.Fidelity(uart.CarriesDataBits) != 0 && r.cfg.Remote.Fidelity().Carries(uart.CarriesDataBits) {
			args = append(args, "hint", "a device that wants 7E1: --line 7E1 here, 8N1 in the application")
		}
		r.log.Info("not carried here", args...)
	}
}

// urgent is uart.PortConfig.Urgent: a purge or a close was seen before its place in the stream.
func (r *run) urgent(e uart.Event) {
	switch {
	case e.Kind == uart.KindClosed:
		r.closesCalled.Add(1)
	case e.Kind == uart.KindPurge && e.Purge&uart.PurgeTx != 0:
		r.purgesCalled.Add(1)
		r.link.wakeUp()
	}
	r.kickRun()
}

// dropping reports whether the bytes that up holds lie before something that throws them away.
func (r *run) dropping() bool {
	return r.purgesCalled.Load() > r.purgesSeen.Load() || r.abandon.Load() > r.closesSeen.Load()
}

// answerOpens tells every open() that waits how it went.
func (r *run) answerOpens(err error) {
	r.readyMu.Lock()
	waiting := r.ready
	r.ready = nil
	r.readyMu.Unlock()
	for _, ready := range waiting {
		ready(err)
	}
}

// showModem shows the device's lines to the application as the link and the policy let them appear.
func (r *run) showModem(stands bool) {
	m := r.device
	if r.asleep.Load() {
		m = 0
	}
	if !stands {
		m &= uart.DCD
	}
	if r.policy.DCD == DCDLink {
		m &^= uart.DCD
		if stands {
			m |= uart.DCD
		}
	}
	r.board.set(func(s *Snapshot) { s.Modem = m })
	if err := r.port.SetModem(m); err != nil && !errors.Is(err, uart.ErrNotCarried) && !errors.Is(err, uart.ErrClosed) {
		r.log.Warn("modem state not shown", "err", err)
	}
}
