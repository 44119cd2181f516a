package rfc2217

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

// Fidelity is what a session with an access server carries as far as the protocol goes.
const Fidelity = uart.FullFidelity

// DefaultAckTimeout is how long a setting may stay unconfirmed before it is reported.
const DefaultAckTimeout = 5 * time.Second

const (
	// patience is how long a peer may be silent during the opening before it counts as a raw port.
	patience = 3 * time.Second
	// askAgain is how long a Telnet server may leave our WILL unanswered before DO is tried, once.
	askAgain = time.Second
	// bannerLimit bounds the data that may come before COM-PORT-OPTION is agreed.
	bannerLimit = 16 << 10
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
)

// inUse is what ser2net says, behind a whole negotiation, to a client that comes second, and what our own access server
// says without one. They close then.
const inUse = "Port already in use"

// NotTelnetError says that the peer sends bytes, and no Telnet among them.
type NotTelnetError struct {
	First []byte // what came first, 64 bytes at most
}

// Seen is what came first, quoted, so that it can be shown.
func (e *NotTelnetError) Seen() string { return strconv.QuoteToASCII(string(e.First)) }

func (e *NotTelnetError) Error() string { return "not Telnet: " + e.Seen() }

// Config is how a Client behaves. The zero value of each field means its default.
type Config struct {
	AckTimeout    time.Duration  // how long the answer to a setting is waited for before it is reported
	LineMask      uart.LineState // the line states that the port can show; 0: none is asked for
	SuspendIgnore bool           // go on sending when the server asks for a pause
	SingleFF      bool           // the server sends a 255 of data once
	Log           *slog.Logger   // nil: slog.Default()
}

// Client is our side of a session. See remote.Session for what may be called by whom.
type Client struct {
	*wire
	cfg Config

	// The reader's alone.
	events  []uart.Event // found and not returned yet
	early   []byte       // data that came before COM-PORT-OPTION was agreed
	modem   uart.ModemState
	known   bool // modem is what the server said last
	heard   bool // data has come from the device
	said255 bool // the warning about a 255 that is not doubled was given

	// speaks: the server has itself spoken of options other than 44, so it understands DO, DONT and marks.
	speaksMu sync.Mutex // over speaks and marking, for Mark
	speaks   bool
	marking  bool // a mark is wanted, or under way
	markOut  bool // it is under way: it stands behind markAt bytes
	markAt   uint64

	acks acks

	first bool // Apply has not been called; the writer's

	plain bool // Telnet without COM-PORT-OPTION; constant
}

// OpenTelnet makes a client of a connection to a Telnet server without COM-PORT-OPTION: it carries bytes, and knows
// marks. It waits for nothing. Until BINARY is agreed, data is an NVT's (RFC 854). When it fails the connection is the
// caller's to close.
func OpenTelnet(conn net.Conn, cfg Config) (*Client, error) {
	c := newClient(conn, cfg)
	c.plain = true
	c.options.AllowUs, c.options.AllowPeer = wantedPlain, wantedPlain
	c.binary()
	var hello []byte
	for _, opt := range []telnet.Option{telnet.Binary, telnet.SGA} {
		hello = c.options.AskUs(hello, opt, true)
		hello = c.options.AskPeer(hello, opt, true)
	}
	if err := c.writeCommands(hello); err != nil {
		return nil, err
	}
	return c, nil
}

// wantedPlain is wanted, without COM-PORT-OPTION.
func wantedPlain(o telnet.Option) bool { return o == telnet.Binary || o == telnet.SGA }

// binary has data coded as BINARY stands in each direction. With COM-PORT-OPTION it is transparent anyhow.
func (c *Client) binary() {
	c.decoder.NVT = !c.options.Peer(telnet.Binary)
	c.nvt.Store(!c.options.Us(telnet.Binary))
}

// Open negotiates on a new connection, in the caller's goroutine, until COM-PORT-OPTION is agreed. The session does not
// depend on ctx. When it fails the connection is the caller's to close; the error is ErrSilent, ErrRefused, ErrEcho,
// ErrInUse, a *NotTelnetError, ErrProtocol, or the connection's.
func Open(ctx context.Context, conn net.Conn, cfg Config) (*Client, error) {
	c := newClient(conn, cfg)
	c.options.AllowUs, c.options.AllowPeer = wanted, wanted
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := c.open(ctx)
	if !stop() { // the deadline has been or is being set: the connection is of no use
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return c, conn.SetDeadline(time.Time{})
}

func newClient(conn net.Conn, cfg Config) *Client {
	if cfg.AckTimeout <= 0 {
		cfg.AckTimeout = DefaultAckTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	c := &Client{wire: newWire(conn, clientOwes), cfg: cfg, first: true}
	c.decoder.SingleFF = cfg.SingleFF
	c.acks.timeout, c.acks.wake = cfg.AckTimeout, conn.SetReadDeadline
	return c
}

// wanted says which options may be on, at either side: nobody echoes.
func wanted(o telnet.Option) bool {
	return o == telnet.Binary || o == telnet.SGA || o == telnet.ComPort
}

// opening is what was seen so far.
type opening struct {
	telnet  bool // a Telnet command came
	refused bool // COM-PORT-OPTION was refused
	asked   bool // DO 44 was tried
	echo    echo
	began   time.Time
	quiet   time.Time // since when the peer has been silent
}

// open sends WILL 44 alone, as the first bytes of the connection, and waits for DO 44 or WILL 44. Nothing but verbs is
// sent before that: on a raw port it would be printed on the instrument.
func (c *Client) open(ctx context.Context) error {
	now := time.Now()
	o := &opening{began: now, quiet: now}
	hello := c.options.AskUs(nil, telnet.ComPort, true)
	o.echo.sent(hello)
	if err := c.writeCommands(hello); err != nil {
		return err
	}
	for !c.agreed(o) {
		if o.refused && !c.options.Peer(telnet.ComPort) {
			return ErrRefused
		}
		if err := c.conn.SetReadDeadline(o.until()); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil { // else the end of ctx comes later than the deadline just set, and overrides it
			return err
		}
		data, m, err := c.receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := c.overdue(o); err != nil {
				return err
			}
		case err != nil:
			return c.endedEarly(o, err)
		case m.Command == 0:
			o.quiet = time.Now()
			o.echo.got(data)
			if err := c.banner(o, data); err != nil {
				return err
			}
		default:
			o.quiet = time.Now()
			o.telnet = true
			if err := c.greet(o, m); err != nil {
				return err
			}
		}
	}
	return c.notInUse()
}

// notInUse looks at the data that came with the agreement, before a session is made of it: bytes that the application
// gave to such a session would be lost.
func (c *Client) notInUse() error {
	if c.pending.Command != 0 {
		return nil // a command is next, no data
	}
	data, m := c.ahead()
	c.putBack(data, m)
	if bytes.HasPrefix(data, []byte(inUse)) {
		return ErrInUse
	}
	return nil
}

// until is when the opening has to look again.
func (o *opening) until() time.Time {
	if o.telnet && !o.asked {
		return o.began.Add(askAgain)
	}
	return o.quiet.Add(patience)
}

// agreed reports whether the session can begin. A peer that has said exactly what we said, WILL and then DO, may be a
// plug that echoes: what it says next decides.
func (c *Client) agreed(o *opening) bool {
	return (c.options.Us(telnet.ComPort) || c.options.Peer(telnet.ComPort)) && !o.echo.suspected()
}

// overdue is called when the opening has waited long enough for the next step.
func (c *Client) overdue(o *opening) error {
	switch {
	case o.telnet && !o.asked:
		o.asked = true
		verbs := c.options.AskPeer(nil, telnet.ComPort, true)
		o.echo.sent(verbs)
		return c.writeCommands(verbs)
	case o.echo.suspected():
		return ErrEcho
	case o.telnet:
		return ErrRefused
	case len(c.early) > 0:
		return notTelnet(c.early)
	}
	return ErrSilent
}

// endedEarly says what a peer was that closed before anything was agreed.
func (c *Client) endedEarly(o *opening, err error) error {
	switch {
	case bytes.HasPrefix(c.early, []byte(inUse)):
		return ErrInUse
	case !o.telnet && len(c.early) > 0:
		return notTelnet(c.early)
	}
	return fmt.Errorf("closed by the peer before COM-PORT-OPTION was agreed: %w", err)
}

func notTelnet(data []byte) error {
	return &NotTelnetError{First: append([]byte(nil), data[:min(len(data), 64)]...)}
}

// banner takes data that comes before the agreement: some servers greet with a text. A peer that goes on and on
// without a word of Telnet is a raw port.
func (c *Client) banner(o *opening, data []byte) error {
	c.early = append(c.early, data...)
	if len(c.early) > bannerLimit || !o.telnet && time.Since(o.began) > patience {
		return notTelnet(c.early)
	}
	return nil
}

// greet takes a command that comes before the agreement.
func (c *Client) greet(o *opening, m telnet.Message) error {
	if !m.Command.Verb() {
		o.echo.differs()
		if m.TooLong {
			return errTooLong
		}
		return c.handle(m)
	}
	o.echo.got(telnet.AppendVerb(nil, m.Command, m.Option))
	if m.Option == telnet.ComPort && m.Command == telnet.DONT {
		o.refused = true
	}
	var verbs []byte
	if m.Option != telnet.TimingMark {
		verbs = c.options.Receive(nil, m.Command, m.Option)
	}
	verbs = c.learn(verbs, m.Option)
	o.echo.sent(verbs)
	return c.writeCommands(verbs)
}

// learn notes that the server has spoken of an option, and appends what that lets us ask for.
func (c *Client) learn(verbs []byte, opt telnet.Option) []byte {
	if opt == telnet.ComPort || opt == telnet.TimingMark || c.speaks {
		return verbs
	}
	c.speaksMu.Lock()
	c.speaks = true
	c.speaksMu.Unlock()
	for _, opt := range []telnet.Option{telnet.Binary, telnet.SGA} {
		verbs = c.options.AskUs(verbs, opt, true)
		verbs = c.options.AskPeer(verbs, opt, true)
	}
	return verbs
}

// Fidelity is what this session carries.
func (c *Client) Fidelity() uart.Fidelity {
	if c.plain {
		return 0
	}
	return Fidelity
}

// Close ends the connection: FIN behind what was written. Every blocked call returns. Idempotent.
func (c *Client) Close() error { return c.close() }

// echo compares what the peer says with what was said to it.
type echo struct {
	ours, theirs []byte
	different    bool
}

func (e *echo) sent(p []byte) { e.ours = append(e.ours, p...) }

func (e *echo) differs() { e.different = true }

func (e *echo) got(p []byte) {
	if e.theirs = append(e.theirs, p...); len(e.theirs) > len(e.ours) || string(e.ours[:len(e.theirs)]) != string(e.theirs) {
		e.different = true
	}
}

// suspected reports whether everything that came is what we had sent.
func (e *echo) suspected() bool { return !e.different && len(e.theirs) > 0 }
