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

// opener runs an Opening on the connection.
type opener struct {
	*Opening
	messages int   // commands and pieces of data that have come
	deaf     error // a write has failed: the peer takes no more, but may have said why
}

// open negotiates until COM-PORT-OPTION is agreed.
func (c *Client) open(ctx context.Context) error {
	o := &opener{Opening: NewOpening(&c.options)}
	c.say(o, o.Start(time.Now()))
	for o.Conclusion() == Undecided {
		data, m, err := c.within(ctx, o.Until())
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if o.deaf != nil {
				return o.deaf
			}
			c.say(o, o.Timeout(nil, time.Now()))
			err = nil
		case err != nil:
			o.End()
			return c.notOpened(o, err)
		case m.Command == 0:
			c.queue.Push(data)
			o.Data(data, time.Now())
		case m.Command.Verb():
			c.say(o, o.Verb(nil, m, time.Now()))
			if _, answered := o.Mark(); answered && !c.fenced {
				c.fenced = true
				c.greeted()
			}
		default:
			o.Command(m, time.Now())
			err = c.handle(m)
		}
		if err != nil {
			return err
		}
		if o.messages++; o.Conclusion() == Undecided && (c.keeps()+o.keeps() > openingKeeps || o.messages > openingMessages) {
			return ErrFlood
		}
	}
	if o.Conclusion() != Agreed {
		return c.notOpened(o, nil)
	}
	c.speaks.Store(o.Speaks())
	c.trip = o.RoundTrip()
	if sent, answered := o.Mark(); !sent.IsZero() && !answered {
		overdue := sent.Add(markPatience)
		c.fence.Store(&overdue)
	}
	return c.served(ctx, o)
}

// notOpened is the error of an opening that has not come to an agreement; err is why the connection has failed, if it has.
func (c *Client) notOpened(o *opener, err error) error {
	switch o.Conclusion() {
	case Refused:
		return ErrRefused
	case EchoesBack:
		return ErrEcho
	case Silent:
		return ErrSilent
	case NotTelnet:
		return notTelnet(o.Text())
	}
	return endedEarly(o.Text(), false, err)
}

// endedEarly is the error of a peer that closed before it has served us.
func endedEarly(text []byte, agreed bool, err error) error {
	switch refusal(text, true) {
	case PortInUse:
		if SaysInUse(text, false) {
			return ErrInUse
		}
		return &InUseError{Said: beginning(text)}
	case NoDevice:
		return &NoDeviceError{Said: beginning(text)}
	}
	return &EarlyEndError{Agreed: agreed, Said: beginning(text), Err: err}
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

// keeps is how many bytes of memory the client has for what has come. What is owed has a bound of its own, a lower one.
func (c *Client) keeps() int { return c.queue.Len() + c.queue.Items()*eventSize }

// keeps is how many bytes of memory the opening has.
func (o *Opening) keeps() int { return len(o.text) + len(o.echo.pending) }

// say sends verbs of the opening.
func (c *Client) say(o *opener, verbs []byte) {
	if o.deaf == nil {
		o.deaf = c.writeCommands(verbs)
	}
}

// served asks a server that knows marks for one, and waits until it has taken what we said. ser2net says only behind a
// whole negotiation that its port is another client's, and bytes that the application gave to such a session would be
// lost. What comes before the answer is the server's greeting: when it has begun to serve us, the answer must come within
// one round trip, or the session begins without it.
func (c *Client) served(ctx context.Context, o *opener) error {
	if sent, _ := o.Mark(); sent.IsZero() && c.speaks.Load() {
		c.say(o, c.firstMark(nil))
	}
	from := c.queue.Len()
	var serving time.Time // since when it has; zero: it has not
	for fence := c.fence.Load(); fence != nil; fence = c.fence.Load() {
		if c.keeps()+o.keeps() > openingKeeps { // the session holds it
			return nil
		}
		until := *fence
		if grace := serving.Add(c.trip + lastLook); !serving.IsZero() && grace.Before(until) {
			until = grace
		}
		data, m, err := c.within(ctx, until)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return o.deaf
		case err != nil:
			return endedEarly(c.queue.Bytes(), true, err)
		case m.Command != 0:
			if err = c.handle(m); c.fence.Load() == nil {
				c.trip = max(c.trip, time.Since(fence.Add(-markPatience)))
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
		if notice := m.Command != 0 && !m.Command.Verb(); serving.IsZero() && (notice || !strings.HasPrefix(InUse, string(c.queue.Bytes()[from:]))) {
			serving = time.Now()
		}
	}
	return c.notInUse()
}

// firstMark appends our own mark: its answer says that there will be others.
func (c *Client) firstMark(verbs []byte) []byte {
	overdue := time.Now().Add(markPatience)
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

// excerptMost is how many bytes of what a peer says are kept to be shown.
const excerptMost = 64

// beginning is a copy of the first bytes of text.
func beginning(text []byte) []byte { return bytes.Clone(text[:min(len(text), excerptMost)]) }

// excerpt is the beginning of what a peer said, quoted, so that it can be shown.
func excerpt(text []byte) string {
	return strconv.QuoteToASCII(string(text[:min(len(text), excerptMost)]))
}

func notTelnet(data []byte) error { return &NotTelnetError{First: beginning(data)} }

// learn notes that the server has spoken of an option, and appends what that lets us ask for.
func (c *Client) learn(verbs []byte, opt telnet.Option) []byte {
	if opt == telnet.ComPort || opt == telnet.TimingMark || c.speaks.Load() {
		return verbs
	}
	c.speaks.Store(true)
	if c.plain { // all was asked for at once, and may have been refused
		return verbs
	}
	return appendWanted(verbs, &c.options)
}
