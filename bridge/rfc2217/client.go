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

// Fidelity is what the protocol can carry.
const Fidelity = uart.FullFidelity

// DefaultAckTimeout is how long a setting may stay unconfirmed before that is reported.
const DefaultAckTimeout = 5 * time.Second

const (
	// bannerLimit bounds, in bytes, the data that a client may send to a Server before it agrees to COM-PORT-OPTION.
	bannerLimit = 16 << 10
	// openingMemory bounds, in bytes, what a Client keeps in memory of what comes before the session.
	openingMemory = 64 << 10
	// openingMessages bounds how many commands and pieces of data may come before COM-PORT-OPTION is agreed: a flood that
	// takes no memory still takes time. Servers need about ten.
	openingMessages = 4096
	// openingMost bounds the whole opening, its writes included: a peer may keep sending, or read nothing.
	openingMost = 10 * time.Second
)

// How an opening can fail.
var (
	// ErrSilent: the peer has sent nothing at all.
	ErrSilent = errors.New("silent")
	// ErrRefused: it speaks Telnet, and refuses COM-PORT-OPTION or does not answer.
	ErrRefused = errors.New("COM-PORT-OPTION refused")
	// ErrEcho: it returns whatever it gets.
	ErrEcho = errors.New("it echoes what it gets")
	// ErrInUse: it is an access server, and another client has its port.
	ErrInUse = errors.New("port already in use")
	// ErrEndless: it goes on negotiating, or does not read.
	ErrEndless = fmt.Errorf("not done within %v", openingMost)
	// ErrFlood: it speaks Telnet, and sends more and more without agreeing to COM-PORT-OPTION.
	ErrFlood = fmt.Errorf("it has sent more than %d KiB or %d commands before COM-PORT-OPTION was agreed", openingMemory>>10, openingMessages)
)

// InUseError is ErrInUse for a server whose text does not contain InUse.
type InUseError struct {
	Text []byte // its text, 64 bytes at most
}

// Quoted is Text, quoted for a terminal.
func (e *InUseError) Quoted() string { return excerpt(e.Text) }

func (e *InUseError) Error() string { return ErrInUse.Error() + ": it sent " + e.Quoted() }

func (e *InUseError) Unwrap() error { return ErrInUse }

// NoDeviceError says that the access server cannot open its device.
type NoDeviceError struct {
	Text []byte // its text, 64 bytes at most: often the reason
}

// Quoted is Text, quoted for a terminal.
func (e *NoDeviceError) Quoted() string { return excerpt(e.Text) }

func (e *NoDeviceError) Error() string {
	return "the access server cannot open its device: it sent " + e.Quoted()
}

// NotTelnetError says that the peer sends bytes, and no Telnet among them.
type NotTelnetError struct {
	First []byte // the first bytes that came, 64 at most
}

// Quoted is First, quoted for a terminal.
func (e *NotTelnetError) Quoted() string { return excerpt(e.First) }

func (e *NotTelnetError) Error() string { return "not Telnet: " + e.Quoted() }

// EarlyEndError says that the peer has closed the connection before there was a session, and is not a raw port.
type EarlyEndError struct {
	Agreed bool   // COM-PORT-OPTION was agreed
	Text   []byte // its text, 64 bytes at most: often the reason
	Err    error  // the connection's
}

// Quoted is Text, quoted for a terminal.
func (e *EarlyEndError) Quoted() string { return excerpt(e.Text) }

func (e *EarlyEndError) Error() string {
	when := "before"
	if e.Agreed {
		when = "as soon as"
	}
	if len(e.Text) > 0 { // without Err: whether the end is seen as EOF or as a reset is chance
		return fmt.Sprintf("closed by the peer %s COM-PORT-OPTION was agreed; it sent %s", when, e.Quoted())
	}
	return fmt.Sprintf("closed by the peer %s COM-PORT-OPTION was agreed: %v", when, e.Err)
}

func (e *EarlyEndError) Unwrap() error { return e.Err }

// Config is how a Client behaves. The zero value of each field means its default.
type Config struct {
	AckTimeout time.Duration  // how long a setting may stay unconfirmed before that is reported; 0: DefaultAckTimeout
	LineMask   uart.LineState // the line states that the port can show; 0: none is requested
	Quirks     Quirks
	Log        *slog.Logger // nil: slog.Default()
}

// eventSize is how much memory, in bytes, an event takes at most while it waits for Next.
const eventSize = 128

// Client is our side of a session. See uart.Session for which goroutine may call what.
type Client struct {
	*wire

	// Constant once the session is up.
	cfg       Config
	plain     bool          // Telnet without COM-PORT-OPTION
	roundTrip time.Duration // the longest that an answer took during the opening

	// The reader's: the goroutine that calls Next; before the session, the one that opens it.
	opening bool // the opening is not over
	// queue is what Next has not returned yet: events; and data that came during the opening or while it is held. All other
	// data goes to the caller of Next directly and is never queued.
	queue             ordered.Stream[uart.Event]
	lastRead          bool  // the time for an answer is up, and one more read is under way
	firstMarkAnswered bool  // the opening's own mark was answered
	end               error // why the session has ended, while Next must still return something before that
	modem             uart.ModemState
	modemKnown        bool // the server has reported modem
	gotData           bool // data has come from the device
	warned255         bool // the warning about a 255 that is not doubled was logged
	ffAlarm           bool // the alarm for a 255 that nothing follows is set
	ownServer         bool // the server is a telnetcpc: it sends no NUL after the notice of a break
	// Whether the last thing that came is the notice of a break; when it came, and in which read.
	breakNotice bool
	breakAt     time.Time
	breakRead   uint64

	// The writer's: the goroutine that calls Write and Apply.
	firstApply bool      // Apply has not been called
	firstWrite bool      // Write has not been called, and must wait for an answer
	answerBy   time.Time // until then

	// Set by the reader; Mark, which any goroutine may call, loads them.
	negotiates   atomic.Bool               // the server has negotiated another option unasked, so it understands DO, DONT and marks
	firstMarkDue atomic.Pointer[time.Time] // when the opening's own mark is overdue; nil: it is not under way

	// Shared by reader and writer.
	acks    acks
	alarms  alarms
	holding atomic.Bool   // whether data is the server's greeting or the device's is undecided; either side ends it, once
	settled chan struct{} // closed when holding ends
}

// OpenTelnet opens a session with a Telnet server without COM-PORT-OPTION: it carries bytes and marks. Until BINARY is
// agreed, data is sent as NVT data (RFC 854), so OpenTelnet waits in the caller's goroutine for the server's answers, 1 s
// at most. Data that comes meanwhile is the first data of the session, even if the peer closes after it: then Write
// fails.
//
// The session does not depend on ctx. If it fails, the connection stays open and is the caller's to close. The error is
// ErrEndless if the peer reads nothing, ErrProtocol, or the connection's.
func OpenTelnet(ctx context.Context, conn net.Conn, cfg Config) (*Client, error) {
	c := newClient(conn, cfg)
	c.plain = true
	c.options.AllowUs, c.options.AllowPeer = wantedPlain, wantedPlain
	return c.start(ctx, c.openPlain)
}

// Open negotiates on a new connection, in the caller's goroutine, until COM-PORT-OPTION is agreed. It takes 10 s at most and
// keeps 64 KiB at most of what comes.
//
// The session does not depend on ctx. If it fails, the connection stays open and is the caller's to close. The error is
// ErrSilent, ErrRefused, ErrEcho, ErrInUse or an *InUseError, a *NoDeviceError, ErrEndless, ErrFlood, a *NotTelnetError, an
// *EarlyEndError, ErrProtocol, or the connection's.
func Open(ctx context.Context, conn net.Conn, cfg Config) (*Client, error) {
	c := newClient(conn, cfg)
	c.holding.Store(!cfg.Quirks.Has(KeepGreeting))
	return c.start(ctx, c.open)
}

// start runs open, bounded by ctx and openingMost, and starts the session.
func (c *Client) start(ctx context.Context, open func(context.Context) error) (*Client, error) {
	within, cancel := context.WithTimeoutCause(ctx, openingMost, ErrEndless)
	defer cancel()
	stop := context.AfterFunc(within, func() { _ = c.conn.SetDeadline(past()) })
	err := open(within)
	if !stop() || err != nil && within.Err() != nil { // ctx or openingMost has ended it, or has done so just now
		return nil, context.Cause(within)
	}
	if err != nil {
		return nil, err
	}
	c.breakNotice = false // no notices have been requested yet
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
	c := &Client{wire: newWire(conn, clientOwes, cfg.Log), cfg: cfg, opening: true, settled: make(chan struct{}), firstApply: true}
	if c.decoder.SingleFF = cfg.Quirks.Has(SingleFF); c.decoder.SingleFF {
		c.beforeRead = c.watchFF
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

// CloseWrite sends FIN after what is being written and what is queued; Next goes on. It never blocks.
func (c *Client) CloseWrite() error {
	c.closeWrite()
	return nil
}

// Close sends FIN after what was written and closes the connection. Every blocked call returns. Idempotent.
func (c *Client) Close() error { return c.close() }
