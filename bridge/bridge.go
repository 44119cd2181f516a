package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"telnetcpc/bridge/uart"
)

// Remote creates sessions.
type Remote interface {
	// Dial returns a session that is up. mask is the line state that the port can show; 0: none.
	Dial(ctx context.Context, mask uart.LineState) (uart.Session, error)
	// Fidelity is the most that sessions of this remote carry.
	Fidelity() uart.Fidelity
	// String names the remote for people.
	String() string
}

// OpenPort creates the bridge's port. It is called again after a hangup. Unsent, Urgent and Log are set in config.
type OpenPort func(ctx context.Context, config uart.PortConfig) (uart.Port, error)

// LimitedHandler is a log handler that writes a bounded number of lines and holds the others back. Flush writes what it
// holds; it must not block.
type LimitedHandler interface {
	slog.Handler
	Flush()
}

// Config describes a bridge.
type Config struct {
	Name   string // the port's name in log and status: ttyV0
	Path   string // the port's path, for status
	Open   OpenPort
	Remote Remote
	Policy Policy

	// Log must not block: bytes and the shutdown would wait for it. nil: slog.Default().
	Log *slog.Logger
	// Peer receives the lines that the remote can cause without limit, and Losses those of them that report lost bytes, so
	// that other lines cannot displace these. nil: they go to Log.
	Peer, Losses LimitedHandler
}

// Bridge joins one port to one remote. Run is called once; all other methods may be called from any goroutine.
type Bridge struct {
	// Constant after New.
	cfg       Config
	policy    Policy       // with its defaults
	hupcl     bool         // no linger is configured: a program that clears HUPCL and leaves DTR on keeps the session
	log       *slog.Logger // for what this side does
	peerLog   *slog.Logger // for what the remote does, which may be without limit
	lossesLog *slog.Logger // for the bytes that the remote lost

	// Any goroutine.
	count     counters
	status    status
	observers observers
	current   atomic.Pointer[run] // the port that is open now; for Status alone
	asleep    atomic.Bool         // Sleep was called, and Wake was not
	sleeps    atomic.Uint64       // how often Sleep was called: Run notices a Sleep even if Wake follows at once
	wake      chan struct{}       // something that Run depends on has changed. One slot: a sender never waits

	// Only Run's goroutine.
	redial redial

	// Only down's goroutine.
	warned          map[string]bool // warnings that were logged
	greetingsLogged int             // how many of those were greetings of access servers
}

// New returns a bridge that does nothing until Run.
func New(cfg Config) *Bridge {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	b := &Bridge{
		cfg: cfg, policy: cfg.Policy.withDefaults(), hupcl: cfg.Policy.Linger == nil,
		log: cfg.Log, peerLog: cfg.Log, lossesLog: cfg.Log,
		wake: make(chan struct{}, 1), redial: newRedial(), warned: map[string]bool{},
	}
	if cfg.Peer != nil {
		b.peerLog = slog.New(cfg.Peer)
	}
	if cfg.Losses != nil {
		b.lossesLog = slog.New(cfg.Losses)
	}
	b.status.update(func(s *Snapshot) {
		s.Name, s.Path, s.Remote, s.Link, s.Since = cfg.Name, cfg.Path, cfg.Remote.String(), LinkNoPort, time.Now()
	})
	return b
}

// PortError reports that the port could not be created.
type PortError struct {
	Port string
	Err  error
}

func (e *PortError) Error() string { return e.Err.Error() }
func (e *PortError) Unwrap() error { return e.Err }

// Run creates the port and joins it to its remote until the context ends (nil), the port cannot be created at the start
// (*PortError), or it is lost for good. When the context ends, bytes that the application has written may still go out, for
// up to shutdownMost; what is lost then is logged.
func (b *Bridge) Run(ctx context.Context) error {
	defer b.logTotals()
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

// logTotals flushes the limited logs, then logs the sum of all losses: single lines may have been left out.
func (b *Bridge) logTotals() {
	for _, limited := range []LimitedHandler{b.cfg.Losses, b.cfg.Peer} {
		if limited != nil {
			limited.Flush()
		}
	}
	s := b.Status()
	if s.UpDropped == 0 && s.LostAtMost == 0 {
		return
	}
	b.log.Warn("application bytes were lost, in total", "dropped_in_all", s.UpDropped, "lost_at_most_in_all", s.LostAtMost)
}

// Bounds of the delay between two attempts to create a port again.
const (
	reopenFirst = time.Second
	reopenMost  = 30 * time.Second
)

// reopen creates the port again after a hangup, not before the remote may be dialed again, and retries until it succeeds.
// It returns nil when the context ends.
func (b *Bridge) reopen(ctx context.Context) *run {
	b.status.setLink(LinkNoPort)
	wait := time.Until(b.redial.notBefore)
	delays := &backoff.ExponentialBackOff{
		InitialInterval: reopenFirst, Multiplier: 2, MaxInterval: reopenMost, RandomizationFactor: 0.2,
	}
	delays.Reset()
	for logged := ""; ; wait = delays.NextBackOff() {
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
		b.status.update(func(s *Snapshot) { s.Error = err.Error() })
		if text := err.Error(); text != logged {
			logged = text
			b.log.Warn("cannot create the port again; retrying", "path", b.cfg.Path, "err", text)
		}
	}
}

// Sleep ends the session and prevents a new one until Wake. A session would be dead when the machine resumes, and until
// then the access server would reserve the device for it. The access server sees an orderly close; the application's
// modem lines drop, DCD included; the port stays, and bytes that TCP has not taken are held. Sleep does not wait. Sleep
// and Wake may be called repeatedly, and before Run.
func (b *Bridge) Sleep() {
	b.asleep.Store(true)
	b.sleeps.Add(1)
	b.wakeRun()
}

// Wake ends a Sleep. If a session is wanted, it is dialed at once and gets the whole state of the port.
func (b *Bridge) Wake() {
	b.asleep.Store(false)
	b.wakeRun()
}

// wakeRun makes Run take its next step. It never blocks.
func (b *Bridge) wakeRun() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
