package rfc2217

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"telnetcpc/bridge/telnet"
)

// opening is what was seen so far.
type opening struct {
	telnet  bool // a Telnet command came
	refused bool // COM-PORT-OPTION was refused
	asked   bool // DO 44 was tried
	echo    echo
	began   time.Time
	quiet   time.Time // since when the peer has been silent
	deaf    error     // a write has failed: the peer takes no more, but may have said why
}

// open sends WILL 44 alone, as the first bytes of the connection, and waits for DO 44 or WILL 44. Nothing but verbs is
// sent before that: on a raw port it would be printed on the instrument.
func (c *Client) open(ctx context.Context) error {
	now := time.Now()
	o := &opening{began: now, quiet: now}
	c.say(o, c.options.AskUs(nil, telnet.ComPort, true))
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
	return c.served(ctx, o)
}

// say sends verbs of the opening.
func (c *Client) say(o *opening, verbs []byte) {
	o.echo.sent(verbs)
	if o.deaf == nil {
		o.deaf = c.writeCommands(verbs)
	}
}

// served asks a server that knows marks for one, and waits until it has taken what we said, or begins to serve us.
// ser2net says only behind a whole negotiation that its port is another client's, and bytes that the application gave
// to such a session would be lost.
func (c *Client) served(ctx context.Context, o *opening) error {
	if c.speaks.Load() {
		c.say(o, c.firstMark(nil))
	}
	from := len(c.early)
	until := time.Now().Add(fencePatience)
	for c.fence.Load() != nil {
		if err := c.conn.SetReadDeadline(until); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		data, m, err := c.receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return o.deaf
		case err != nil:
			return fmt.Errorf("closed by the peer as soon as COM-PORT-OPTION was agreed: %w", err)
		case m.Command.Verb():
			if err := c.verb(m); err != nil {
				return err
			}
		case m.Command != 0:
			c.pending = m
			return nil
		default:
			c.early = append(c.early, data...)
			if said := string(c.early[from:]); strings.HasPrefix(said, inUse) {
				return ErrInUse
			} else if !strings.HasPrefix(inUse, said) {
				return nil
			}
		}
	}
	return c.notInUse()
}

// firstMark appends our own mark: its answer says that there will be others.
func (c *Client) firstMark(verbs []byte) []byte {
	overdue := time.Now().Add(fencePatience)
	c.fence.Store(&overdue)
	return telnet.AppendVerb(verbs, telnet.DO, telnet.TimingMark)
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
	case o.deaf != nil:
		return o.deaf
	case o.telnet && !o.asked:
		o.asked = true
		c.say(o, c.options.AskPeer(nil, telnet.ComPort, true))
		return nil
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
	c.say(o, c.learn(verbs, m.Option))
	return nil
}

// learn notes that the server has spoken of an option, and appends what that lets us ask for.
func (c *Client) learn(verbs []byte, opt telnet.Option) []byte {
	if opt == telnet.ComPort || opt == telnet.TimingMark || c.speaks.Load() {
		return verbs
	}
	c.speaks.Store(true)
	for _, opt := range []telnet.Option{telnet.Binary, telnet.SGA} {
		verbs = c.options.AskUs(verbs, opt, true)
		verbs = c.options.AskPeer(verbs, opt, true)
	}
	return verbs
}

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
