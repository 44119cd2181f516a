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
	writeErr error // why a write has failed: the peer takes no more, but its text may give the reason
}

// open negotiates until COM-PORT-OPTION is agreed.
func (c *Client) open(ctx context.Context) error {
	o := &opener{Opening: NewOpening(&c.options)}
	c.sendOpening(o, o.Start(time.Now()))
	for o.Conclusion() == Undecided {
		data, m, err := c.within(ctx, o.Until())
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if o.writeErr != nil {
				return o.writeErr
			}
			c.sendOpening(o, o.Timeout(nil, time.Now()))
			err = nil
		case err != nil:
			o.End()
			return c.notOpened(o, err)
		case m.Command == 0:
			c.queue.Push(data)
			o.Data(data, time.Now())
		case m.Command.Verb():
			c.sendOpening(o, o.Verb(nil, m, time.Now()))
			if _, answered := o.Mark(); answered && !c.firstMarkAnswered {
				c.firstMarkAnswered = true
				c.dropGreeting()
			}
		default:
			o.Command(m, time.Now())
			err = c.handle(m)
		}
		if err != nil {
			return err
		}
		if o.messages++; o.Conclusion() == Undecided && (c.memory()+o.memory() > openingMemory || o.messages > openingMessages) {
			return ErrFlood
		}
	}
	if o.Conclusion() != Agreed {
		return c.notOpened(o, nil)
	}
	c.negotiates.Store(o.Negotiates())
	c.roundTrip = o.RoundTrip()
	if sent, answered := o.Mark(); !sent.IsZero() && !answered {
		overdue := sent.Add(markPatience)
		c.firstMarkDue.Store(&overdue)
	}
	return c.awaitFirstMark(ctx, o)
}

// notOpened returns the error of an opening without an agreement; err is why the connection has failed, if it has.
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

// endedEarly returns the error for a peer that closed the connection before it served us.
func endedEarly(text []byte, agreed bool, err error) error {
	switch refusal(text, true) {
	case PortInUse:
		if MeansInUse(text, false) {
			return ErrInUse
		}
		return &InUseError{Text: beginning(text)}
	case NoDevice:
		return &NoDeviceError{Text: beginning(text)}
	}
	return &EarlyEndError{Agreed: agreed, Text: beginning(text), Err: err}
}

// within is receive with a deadline. It fails at once if ctx has ended.
func (c *Client) within(ctx context.Context, until time.Time) ([]byte, telnet.Message, error) {
	if err := c.conn.SetReadDeadline(until); err != nil {
		return nil, telnet.Message{}, err
	}
	if err := ctx.Err(); err != nil { // if ctx ends after this check, its deadline in the past overrides the one just set
		return nil, telnet.Message{}, err
	}
	return c.receive()
}

// memory returns how many bytes of memory the queue takes. What is queued to be sent has its own, lower bound.
func (c *Client) memory() int { return c.queue.Len() + c.queue.Items()*eventSize }

// memory returns how many bytes of memory the opening takes.
func (o *Opening) memory() int { return len(o.text) + len(o.echo.pending) }

// sendOpening sends verbs of the opening. After a failure it sends nothing, and the opening goes on with what the peer
// has sent.
func (c *Client) sendOpening(o *opener, verbs []byte) {
	if o.writeErr == nil {
		o.writeErr = c.writeCommands(verbs)
	}
}

// awaitFirstMark sends the opening's own mark to a server that knows marks, and waits until it has processed what we
// sent. ser2net reports that another client has its port only after a whole negotiation, and bytes that the application
// gave to such a session would be lost. What comes before the answer is the server's greeting. Once the server has begun
// to serve us, the session waits one round trip for the answer and then begins without it.
func (c *Client) awaitFirstMark(ctx context.Context, o *opener) error {
	if sent, _ := o.Mark(); sent.IsZero() && c.negotiates.Load() {
		c.sendOpening(o, c.appendFirstMark(nil))
	}
	from := c.queue.Len()
	var serving time.Time // since when the server serves us; zero: it does not yet
	for fence := c.firstMarkDue.Load(); fence != nil; fence = c.firstMarkDue.Load() {
		if c.memory()+o.memory() > openingMemory { // the session goes on holding it
			return nil
		}
		until := *fence
		if grace := serving.Add(c.roundTrip + recheckTime); !serving.IsZero() && grace.Before(until) {
			until = grace
		}
		data, m, err := c.within(ctx, until)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return o.writeErr
		case err != nil:
			return endedEarly(c.queue.Bytes(), true, err)
		case m.Command != 0:
			if err = c.handle(m); c.firstMarkDue.Load() == nil {
				c.roundTrip = max(c.roundTrip, time.Since(fence.Add(-markPatience)))
			}
		default:
			if c.queue.Push(data); containsInUse(c.queue.Bytes(), len(data)) {
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
	return c.checkInUse()
}

// appendFirstMark appends our own mark. If the server answers it, it will answer others.
func (c *Client) appendFirstMark(verbs []byte) []byte {
	overdue := time.Now().Add(markPatience)
	c.firstMarkDue.Store(&overdue)
	return telnet.AppendVerb(verbs, telnet.DO, telnet.TimingMark)
}

// checkInUse inspects the data that came with the agreement, before the session begins: if the port is in use, bytes that
// the application gave to the session would be lost.
func (c *Client) checkInUse() error {
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

// containsInUse reports whether text contains an InUse that its last n bytes have completed.
func containsInUse(text []byte, n int) bool {
	return bytes.Contains(text[max(0, len(text)-n-len(InUse)+1):], []byte(InUse))
}

// excerptMost is how many bytes of a peer's text errors and events keep.
const excerptMost = 64

// beginning returns a copy of the first excerptMost bytes of text.
func beginning(text []byte) []byte { return bytes.Clone(text[:min(len(text), excerptMost)]) }

// excerpt returns the beginning of text, quoted for a terminal.
func excerpt(text []byte) string {
	return strconv.QuoteToASCII(string(text[:min(len(text), excerptMost)]))
}

func notTelnet(data []byte) error { return &NotTelnetError{First: beginning(data)} }

// learnOption records that the server has negotiated an option. It appends the requests for other options that may now be
// sent.
func (c *Client) learnOption(verbs []byte, opt telnet.Option) []byte {
	if opt == telnet.ComPort || opt == telnet.TimingMark || c.negotiates.Load() {
		return verbs
	}
	c.negotiates.Store(true)
	if c.plain { // everything was requested at once, and may have been refused
		return verbs
	}
	return appendWanted(verbs, &c.options)
}
