// Package bridge joins one serial port and one remote: what the application does to the port happens at the far
// UART, in order, over as many sessions as it takes; what the device does comes back. It owns the policies: when a
// session exists, what a loss means, when the last byte is out. It must not know which host makes the port, nor how a
// session speaks: it is handed a uart.Port and something that dials.
//
// Three goroutines a port: Run changes the state, dials and owns every timer; up carries the application's bytes and
// changes to the session; down carries the session's bytes and events to the port. A fourth, resend, is there only
// while a new session gets what was held for it. See up.go and down.go for the way of a byte, phase.go for a bridge's
// life.
package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"telnetcpc/bridge/loglimit"
	"telnetcpc/bridge/uart"
)

// Remote is where sessions come from.
type Remote interface {
	// Dial returns a session that stands. mask is the line state that the port can show; 0: none.
	Dial(ctx context.Context, mask uart.LineState) (uart.Session, error)
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

	// Log must not block: bytes and the end of the bridge would wait for whoever reads it. nil: slog.Default().
	Log *slog.Logger
	// Peer takes the lines whose number the remote decides, Losses those of them that say how many bytes were lost: what else
	// the remote does must not leave these out. nil: Log does.
	Peer, Losses *loglimit.Handler
}

// Bridge is one port joined to one remote.
type Bridge struct {
	cfg    Config
	policy Policy // with its defaults
	hupcl  bool   // no linger was given: a program that leaves HUPCL off and DTR up keeps the session
	log    *slog.Logger
	far    *slog.Logger // for what the remote does, and may do without end
	losses *slog.Logger // for what that cost

	count counters
	board board
	tap   tap

	present atomic.Pointer[run] // the port of now, for Status
	asleep  atomic.Bool         // Sleep was called, and Wake was not

	sleeps atomic.Uint64 // how often Sleep was called: a Wake right behind it does not undo it

	// kick tells Run that something it decides on has changed. One slot: whoever kicks never waits.
	kick chan struct{}

	redial    redial          // only Run's
	said      map[string]bool // warnings that were given; only down's
	greetings int             // of them, greetings of access servers
}

// New returns a bridge that does nothing until Run.
func New(cfg Config) *Bridge {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	b := &Bridge{
		cfg: cfg, policy: cfg.Policy.withDefaults(), hupcl: cfg.Policy.Linger == nil, log: cfg.Log, far: cfg.Log, losses: cfg.Log,
		kick: make(chan struct{}, 1), redial: newRedial(), said: map[string]bool{},
	}
	if cfg.Peer != nil {
		b.far = slog.New(cfg.Peer)
	}
	if cfg.Losses != nil {
		b.losses = slog.New(cfg.Losses)
	}
	b.board.set(func(s *Snapshot) {
		s.Name, s.Path, s.Remote, s.Link, s.Since = cfg.Name, cfg.Path, cfg.Remote.String(), LinkNoPort, time.Now()
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

// Run makes the port and joins it to its remote until the context ends (nil), the port cannot be made at the start
// (*PortError), or it is lost for good. When the context ends, what the application wrote may go out for as long as
// endMost, and what that cost is said. It is called once.
func (b *Bridge) Run(ctx context.Context) error {
	defer b.sayLast()
	r, err := b.open(ctx)
	if err != nil && ctx.Err() == nil {
		return &PortError{Port: b.cfg.Name, Err: err}
	}
	for err == nil && r != nil {
		if err := r.serve(ctx); !errors.Is(err, errHangup) {
			if err != nil {
				err = fmt.Errorf("port %s is lost: %w", b.cfg.Name, err)
			}
			return err
		}
		r = b.reopen(ctx)
	}
	return nil
}

// sayLast tells at the end what is left to be told, and what all losses together were: the lines of some of them may have been
// left out.
func (b *Bridge) sayLast() {
	for _, limited := range []*loglimit.Handler{b.cfg.Losses, b.cfg.Peer} {
		if limited != nil {
			limited.Flush()
		}
	}
	s := b.Status()
	if s.UpDropped == 0 && s.LostAtMost == 0 {
		return
	}
	b.log.Warn("bytes of the application were lost, in all", "dropped_in_all", s.UpDropped, "lost_at_most_in_all", s.LostAtMost)
}

// Bounds of the time between two tries to make a port again.
const (
	reopenFirst = time.Second
	reopenMost  = 30 * time.Second
)

// reopen makes the port again after a hangup, not before the remote may be dialed again, and tries until it succeeds.
// It returns nil when the context ends.
func (b *Bridge) reopen(ctx context.Context) *run {
	b.board.link(LinkNoPort)
	wait := time.Until(b.redial.at)
	again := &backoff.ExponentialBackOff{
		InitialInterval: reopenFirst, Multiplier: 2, MaxInterval: reopenMost, RandomizationFactor: 0.2,
	}
	again.Reset()
	for said := ""; ; wait = again.NextBackOff() {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		r, err := b.open(ctx)
		if err == nil {
			return r
		}
		if ctx.Err() != nil {
			return nil
		}
		b.board.set(func(s *Snapshot) { s.Error = err.Error() })
		if text := err.Error(); text != said {
			said = text
			b.log.Warn("the port cannot be made again; trying", "path", b.cfg.Path, "err", text)
		}
	}
}

// Sleep ends the session, and lets none be made until Wake: it would be dead when the machine wakes, and the access
// server would keep the device for it meanwhile. The access server hears the end, the application's modem state falls,
// DCD too; the port stays, and what the application wrote and TCP had not taken is held. It does not wait.
// Sleep and Wake may be called by anyone at any time, twice too, and before Run.
func (b *Bridge) Sleep() {
	b.asleep.Store(true)
	b.sleeps.Add(1)
	b.kickRun()
}

// Wake ends what Sleep began: where a session is wanted it is dialed at once, and told the whole state of the port.
func (b *Bridge) Wake() {
	b.asleep.Store(false)
	b.kickRun()
}

func (b *Bridge) kickRun() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}
