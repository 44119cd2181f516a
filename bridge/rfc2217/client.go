package rfc2217

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

// Fidelity is what a session with an access server carries as far as the protocol goes.
const Fidelity = uart.FullFidelity

// DefaultAckTimeout is how long a setting may stay unconfirmed before it is reported.
const DefaultAckTimeout = 5 * time.Second

const (
	// bannerLimit bounds, in bytes, what a client may send before it has agreed to COM-PORT-OPTION.
	bannerLimit = 16 << 10
	// openingKeeps bounds, in bytes, all that is kept of what comes before the session.
	openingKeeps = 64 << 10
	// openingMessages bounds how many commands and pieces of data may come before COM-PORT-OPTION is agreed: a flood that needs
	// no memory costs time. Servers need some ten.
	openingMessages = 4096
	// openingMost bounds the whole opening, with the writes in it: a peer may go on talking, or take nothing.
	openingMost = 10 * time.Second
)

// What a peer can turn out to be during the opening.
var (
	// ErrSilent: it said nothing at all.
	ErrSilent = errors.New("silent")
	// ErrRefused: it speaks Telnet and does not want COM-PORT-OPTION.
	ErrRefused = errors.New("COM-PORT-OPTION refused")
	// ErrEcho: it sends back whatever it gets.
	ErrEcho = errors.New("it echoes what it gets")
	// ErrInUse: it is an access server, and its port is another client's.
	ErrInUse = errors.New("port already in use")
	// ErrEndless: it goes on negotiating, or does not take what we say.
	ErrEndless = fmt.Errorf("not done within %v", openingMost)
	// ErrFlood: it speaks Telnet, and sends on and on without coming to COM-PORT-OPTION.
	ErrFlood = fmt.Errorf("it has sent more than %d KiB or %d commands before COM-PORT-OPTION was agreed", openingKeeps>>10, openingMessages)
)

// InUseError is ErrInUse of a server that says it in words of its own.
type InUseError struct {
	Said []byte // what the server said, 64 bytes at most
}

// Seen is what the server said, quoted, so that it can be shown.
func (e *InUseError) Seen() string { return excerpt(e.Said) }

func (e *InUseError) Error() string { return ErrInUse.Error() + ": it said " + e.Seen() }

func (e *InUseError) Unwrap() error { return ErrInUse }

// NoDeviceError says that the access server cannot open its device.
type NoDeviceError struct {
	Said []byte // what the server said, 64 bytes at most: often why
}

// Seen is what the server said, quoted, so that it can be shown.
func (e *NoDeviceError) Seen() string { return excerpt(e.Said) }

func (e *NoDeviceError) Error() string {
	return "the access server cannot open its device: it said " + e.Seen()
}

// NotTelnetError says that the peer sends bytes, and no Telnet among them.
type NotTelnetError struct {
	First []byte // what came first, 64 bytes at most
}

// Seen is what came first, quoted, so that it can be shown.
func (e *NotTelnetError) Seen() string { return excerpt(e.First) }

func (e *NotTelnetError) Error() string { return "not Telnet: " + e.Seen() }

// EarlyEndError says that the peer, which is no raw port, closed before there was a session.
type EarlyEndError struct {
	Agreed bool   // COM-PORT-OPTION was agreed
	Said   []byte // what it said, as text, 64 bytes at most: often why
	Err    error  // the connection's
}

// Seen is what the peer said, quoted, so that it can be shown.
func (e *EarlyEndError) Seen() string { return excerpt(e.Said) }

func (e *EarlyEndError) Error() string {
	when := "before"
	if e.Agreed {
		when = "as soon as"
	}
	if len(e.Said) > 0 { // which is enough: the end comes as EOF or as a reset, by chance
		return fmt.Sprintf("closed by the peer %s COM-PORT-OPTION was agreed; it said %s", when, e.Seen())
	}
	return fmt.Sprintf("closed by the peer %s COM-PORT-OPTION was agreed: %v", when, e.Err)
}

func (e *EarlyEndError) Unwrap() error { return e.Err }

// Config is how a Client behaves. The zero value of each field means its default.
type Config struct {
	AckTimeout time.Duration  // how long the answer to a setting is waited for before it is reported
	LineMask   uart.LineState // the line states that the port can show; 0: none is asked for
	Quirks     Quirks
	Log        *slog.Logger // nil: slog.Default()
}

// eventSize is what an event costs in memory while it waits for Next, at most, in bytes.
const eventSize = 128

// Client is our side of a session. See uart.Session for what may be called by whom.
type Client struct {
	*wire
	cfg Config

	// The reader's alone.
	opening bool // it lasts
	// queue is what Next has not returned yet: events; and data that came during the opening, or before it was known whose
	// it is. Else data goes to Next's caller at once and is never in here.
	queue   ordered.Stream[uart.Event]
	looked  bool  // the time to wait for an answer is up, and bytes that are there already are looked for
	end     error // why the session has ended, where something is handed out before that
	modem   uart.ModemState
	known   bool // modem is what the server said last
	heard   bool // data has come from the device
	said255 bool // the warning about a 255 that is not doubled was given
	openFF  bool // the alarm for a 255 that nothing follows is set

	fenced bool // the first mark was answered

	ours    bool      // the server is our own: no NUL comes behind the notice of a break
	broke   bool      // the last thing that came is the notice of a break
	brokeAt time.Time // when
	brokeIn uint64    // and in which read

	// The reader's; Mark, which anyone may call, looks at them.
	speaks atomic.Bool               // the server has itself spoken of options other than 44, so it understands DO, DONT and marks
	fence  atomic.Pointer[time.Time] // the first mark, our own, is under way: when it has stayed without an answer for too long; nil: it is not

	acks   acks
	alarms alarms // of the reader

	holding atomic.Bool   // it is not known yet whether what comes is the server's greeting or the device's
	settled chan struct{} // closed when it is
	trip    time.Duration // a question and its answer, as the opening has measured it; constant after it

	// The writer's.
	first     bool      // Apply has not been called
	unwritten bool      // Write has not been called, and is to wait until it is settled
	answerBy  time.Time // until then

	plain bool // Telnet without COM-PORT-OPTION; constant
}

// OpenTelnet makes a client of a connection to a Telnet server without COM-PORT-OPTION: it carries bytes, and knows
// marks. Until BINARY is agreed, data is an NVT's (RFC 854), so it waits, in the caller's goroutine, until the server has
// answered what we ask it for, a second at most; what comes meanwhile is the session's first data, also where the peer has
// closed behind it: Write takes nothing then. The session does not depend on ctx. When it fails the connection is the caller's to close; the error is ErrEndless, where the peer takes
// nothing, ErrProtocol, or the connection's.
func OpenTelnet(ctx context.Context, conn net.Conn, cfg Config) (*Client, error) {
	c := newClient(conn, cfg)
	c.plain = true
	c.options.AllowUs, c.options.AllowPeer = wantedPlain, wantedPlain
	return c.start(ctx, c.openPlain)
}

// Open negotiates on a new connection, in the caller's goroutine, until COM-PORT-OPTION is agreed. The session does not
// depend on ctx. It takes 10 s, and keeps 64 KiB of what comes, at most. When it fails the connection is the caller's to
// close; the error is ErrSilent, ErrRefused, ErrEcho, ErrInUse or an *InUseError, a *NoDeviceError, ErrEndless, ErrFlood, a *NotTelnetError, an
// *EarlyEndError, ErrProtocol, or the connection's.
func Open(ctx context.Context, conn net.Conn, cfg Config) (*Client, error) {
	c := newClient(conn, cfg)
	c.holding.Store(!cfg.Quirks.Has(KeepGreeting))
	return c.start(ctx, c.open)
}

// start has the client opened, within ctx and openingMost.
func (c *Client) start(ctx context.Context, open func(context.Context) error) (*Client, error) {
	within, cancel := context.WithTimeoutCause(ctx, openingMost, ErrEndless)
	defer cancel()
	stop := context.AfterFunc(within, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	err := open(within)
	if !stop() || err != nil && within.Err() != nil { // the deadline has been, or is being, or was to be set
		return nil, context.Cause(within)
	}
	if err != nil {
		return nil, err
	}
	c.broke = false // nobody has asked for notices so far
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	c.opening = false
	if err := c.startHolding(time.Now()); err != nil {
		return nil, err
	}
	return c, c.alarms.start()
}

func newClient(conn net.Conn, cfg Config) *Client {
	if cfg.AckTimeout <= 0 {
		cfg.AckTimeout = DefaultAckTimeout
	}
	c := &Client{wire: newWire(conn, clientOwes, cfg.Log), cfg: cfg, opening: true, settled: make(chan struct{}), first: true}
	if c.decoder.SingleFF = cfg.Quirks.Has(SingleFF); c.decoder.SingleFF {
		c.waits = c.watchFF
	}
	c.alarms.deadline, c.alarms.patience = conn.SetReadDeadline, cfg.AckTimeout
	c.acks.timeout = cfg.AckTimeout
	c.acks.wake = func(t time.Time) error { return c.alarms.set(ackDue, t) }
	return c
}

// Fidelity is what this session carries.
func (c *Client) Fidelity() uart.Fidelity {
	if c.plain {
		return 0
	}
	return Fidelity
}

// CloseWrite has FIN sent behind what is being written and what is owed; Next goes on. It never blocks.
func (c *Client) CloseWrite() error {
	c.closeWrite()
	return nil
}

// Close ends the connection: FIN behind what was written. Every blocked call returns. Idempotent.
func (c *Client) Close() error { return c.close() }
