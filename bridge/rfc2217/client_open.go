package rfc2217

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"telnetcpc/bridge/telnet"
)

// opening is what was seen so far.
type opening struct {
	telnet  bool // a Telnet command came
	refused bool // COM-PORT-OPTION was refused
	heard   int  // commands and pieces of data
	asked   bool // DO 44 was tried
	marked  bool // a mark was asked for
	echo    echo
	began   time.Time
	quiet   time.Time // since when the peer has been silent
	spoken  time.Time // when we asked for COM-PORT-OPTION, the last time
	deaf    error     // a write has failed: the peer takes no more, but may have said why
}

// open sends WILL 44 alone, as the first bytes of the connection, and waits for DO 44 or WILL 44. Nothing but verbs is
// sent before that: on a raw port it would be printed on the instrument.
func (c *Client) open(ctx context.Context) error {
	now := time.Now()
	o := &opening{began: now, quiet: now, spoken: now}
	c.say(o, c.options.AskUs(nil, telnet.ComPort, true))
	for !c.agreed(o) {
		if o.refused && !c.options.Peer(telnet.ComPort) {
			return ErrRefused
		}
		if o.echo.whole() && !o.marked {
			c.askFirst(o)
		}
		data, m, err := c.within(ctx, o.until())
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = c.overdue(o)
		case err != nil:
			return c.endedEarly(o, err)
		case m.Command == 0:
			o.quiet = time.Now()
			o.echo.differs() // we have sent no data
			err = c.banner(o, data)
		default:
			o.quiet = time.Now()
			o.telnet = true
			err = c.greet(o, m)
		}
		if o.heard++; err == nil && (c.keeps(o) > openingKeeps || o.heard > openingHears) {
			err = ErrFlood
		}
		if err != nil {
			return err
		}
	}
	return c.served(ctx, o)
}

// within is receive, until a time, and not after the end of ctx.
func (c *Client) within(ctx context.Context, until time.Time) ([]byte, telnet.Message, error) {
	if err := c.conn.SetReadDeadline(until); err != nil {
		return nil, telnet.Message{}, err
	}
	if err := ctx.Err(); err != nil { // else the end of ctx comes later than the deadline just set, and overrides it
		return nil, telnet.Message{}, err
	}
	return c.receive()
}

// keeps is how many bytes the opening has in memory for what has come. What is owed has a bound of its own, a lower one.
func (c *Client) keeps(o *opening) int {
	return c.queue.Len() + c.queue.Items()*eventSize + len(o.echo.ours) + len(o.echo.theirs)
}

// say sends verbs of the opening.
func (c *Client) say(o *opening, verbs []byte) {
	o.echo.sent(verbs)
	if o.deaf == nil {
		o.deaf = c.writeCommands(verbs)
	}
}

// askFirst sends the opening's own mark. A server answers it with WILL or WONT; a plug that echoes returns DO.
func (c *Client) askFirst(o *opening) {
	o.marked = true
	c.say(o, c.firstMark(nil))
}

// served asks a server that knows marks for one, and waits until it has taken what we said. ser2net says only behind a
// whole negotiation that its port is another client's, and bytes that the application gave to such a session would be
// lost. What comes before the answer is the server's greeting: when it has begun to serve us, the answer must come within
// one round trip, or the session begins without it.
func (c *Client) served(ctx context.Context, o *opening) error {
	if c.speaks.Load() && !o.marked {
		c.askFirst(o)
	}
	from := c.queue.Len()
	serves := false
	for fence := c.fence.Load(); fence != nil; fence = c.fence.Load() {
		if c.keeps(o) > openingKeeps { // the session holds it
			return nil
		}
		until := *fence
		if grace := o.quiet.Add(c.trip + lastLook); serves && grace.Before(until) {
			until = grace
		}
		data, m, err := c.within(ctx, until)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return o.deaf
		case err != nil:
			return &EarlyEndError{Agreed: true, Said: said(c.queue.Bytes()), Err: err}
		case m.Command != 0:
			if err = c.handle(m); c.fence.Load() == nil {
				c.took(time.Since(fence.Add(-fencePatience)))
			}
		default:
			if c.queue.Push(data); saysInUse(c.queue.Bytes(), len(data)) {
				return ErrInUse
			}
		}
		if err != nil {
			return err
		}
		from = min(from, c.queue.Len())
		if notice := m.Command != 0 && !m.Command.Verb(); !serves && (notice || !strings.HasPrefix(InUse, string(c.queue.Bytes()[from:]))) {
			serves, o.quiet = true, time.Now()
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
	if bytes.HasPrefix(data, []byte(InUse)) {
		return ErrInUse
	}
	return nil
}

// saysInUse reports whether the text says that the port is another client's, where that was not in it before its last
// fresh bytes came.
func saysInUse(text []byte, fresh int) bool {
	return bytes.Contains(text[max(0, len(text)-fresh-len(InUse)+1):], []byte(InUse))
}

// until is when the opening has to look again.
func (o *opening) until() time.Time {
	switch {
	case o.marked && o.echo.suspected():
		return o.quiet.Add(fencePatience)
	case o.telnet && !o.asked:
		return o.began.Add(askAgain)
	}
	return o.quiet.Add(patience)
}

// agreed reports whether the session can begin. A peer that has said exactly what we said, WILL and then DO, may be a
// plug that echoes: what it says to a mark decides.
func (c *Client) agreed(o *opening) bool {
	return (c.options.Us(telnet.ComPort) || c.options.Peer(telnet.ComPort)) && !o.echo.suspected()
}

// overdue is called when the opening has waited long enough for the next step.
func (c *Client) overdue(o *opening) error {
	switch {
	case o.deaf != nil:
		return o.deaf
	case o.marked && o.echo.whole():
		return ErrEcho
	case o.marked && o.echo.suspected(): // a plug would have returned the mark too
		o.echo.differs()
		return nil
	case o.telnet && !o.asked:
		o.asked, o.spoken = true, time.Now()
		c.say(o, c.options.AskPeer(nil, telnet.ComPort, true))
		return nil
	case o.echo.suspected():
		c.askFirst(o)
		o.quiet = time.Now()
		return nil
	case o.telnet:
		return ErrRefused
	case c.queue.Len() > 0:
		return notTelnet(c.queue.Bytes())
	}
	return ErrSilent
}

// endedEarly says what a peer was that closed before anything was agreed.
func (c *Client) endedEarly(o *opening, err error) error {
	switch {
	case bytes.HasPrefix(c.queue.Bytes(), []byte(InUse)):
		return ErrInUse
	case !o.telnet && c.queue.Len() > 0:
		return notTelnet(c.queue.Bytes())
	}
	return &EarlyEndError{Said: said(c.queue.Bytes()), Err: err}
}

// excerptMost is how many bytes of what a peer says are kept to be shown.
const excerptMost = 64

// said is a copy of the beginning of what a peer said.
func said(text []byte) []byte { return bytes.Clone(text[:min(len(text), excerptMost)]) }

// excerpt is the beginning of what a peer said, quoted, so that it can be shown.
func excerpt(text []byte) string {
	return strconv.QuoteToASCII(string(text[:min(len(text), excerptMost)]))
}

func notTelnet(data []byte) error { return &NotTelnetError{First: said(data)} }

// banner takes data that comes before the agreement: some servers greet with a text. A peer that goes on and on
// without a word of Telnet is a raw port.
func (c *Client) banner(o *opening, data []byte) error {
	c.queue.Push(data)
	if !o.telnet && (c.queue.Len() > openingKeeps || time.Since(o.began) > patience) {
		return notTelnet(c.queue.Bytes())
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
	if m.Option == telnet.TimingMark {
		return c.greetMark(o, m.Command)
	}
	if m.Option == telnet.ComPort {
		switch m.Command {
		case telnet.DONT:
			o.refused = true
		case telnet.DO, telnet.WILL:
			c.took(time.Since(o.spoken))
		}
	}
	c.say(o, c.learn(c.options.Receive(nil, m.Command, m.Option), m.Option))
	return nil
}

// greetMark takes a verb about marks: the answer to ours, or a question, which is answered (RFC 860) unless it is our own
// that comes back.
func (c *Client) greetMark(o *opening, verb telnet.Command) error {
	overdue := c.fence.Load()
	switch {
	case verb == telnet.DO && !o.echo.suspected():
		c.say(o, telnet.AppendVerb(nil, telnet.WILL, telnet.TimingMark))
	case (verb == telnet.WILL || verb == telnet.WONT) && overdue != nil:
		c.took(time.Since(overdue.Add(-fencePatience)))
		c.fence.Store(nil)
		c.fenced = true
		c.greeted()
	}
	return nil
}

// took notes how long the answer to a question of the opening took. The longest counts: a verb may be no answer but said
// unasked, on the way already.
func (c *Client) took(d time.Duration) { c.trip = max(c.trip, d) }

// learn notes that the server has spoken of an option, and appends what that lets us ask for.
func (c *Client) learn(verbs []byte, opt telnet.Option) []byte {
	if opt == telnet.ComPort || opt == telnet.TimingMark || c.speaks.Load() {
		return verbs
	}
	c.speaks.Store(true)
	if c.plain { // all was asked for at once, and may have been refused
		return verbs
	}
	for _, opt := range []telnet.Option{telnet.Binary, telnet.SGA} {
		verbs = c.options.AskUs(verbs, opt, true)
		verbs = c.options.AskPeer(verbs, opt, true)
	}
	return verbs
}
