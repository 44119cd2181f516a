package rfc2217

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

// Next waits for bytes from the device, or one Event. The bytes are valid until the following call.
func (c *Client) Next() ([]byte, uart.Event, error) {
	for {
		holding := c.holding.Load()
		if !holding {
			if p := c.queue.Run(); len(p) > 0 {
				c.queue.Skip(len(p))
				return p, uart.Event{}, nil
			}
		}
		if e, ok := c.queue.First(); ok {
			return nil, e, nil
		}
		if c.end != nil {
			return nil, uart.Event{}, c.end
		}
		var data []byte
		var m telnet.Message
		err := c.fill()
		if err == nil {
			c.alarms.got()
			data, m, err = c.receive()
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = c.rang()
		case errors.Is(err, io.EOF) && c.flushFF(): // the error comes again behind it
			err = nil
		case err == nil && m.Command == 0:
			if data = c.withoutNUL(data); len(data) == 0 {
				continue
			}
			if holding {
				err = c.hold(data)
				break
			}
			if !c.heard && bytes.HasPrefix(data, []byte(InUse)) {
				return nil, uart.Event{}, ErrInUse
			}
			c.heard = true
			return data, uart.Event{}, nil
		case err == nil:
			err = c.handle(m)
		}
		switch {
		case err == nil, holding && c.undecided(err):
		case c.queue.Items() > 0: // of the command that has failed
			c.end = err
		default:
			return nil, uart.Event{}, err
		}
	}
}

// nulFollows is how soon behind the notice of a break the NUL comes as which the UART has received it.
const nulFollows = 50 * time.Millisecond

// withoutNUL takes the NUL of a break off data that begins with it, directly behind its notice: who is told of the break
// would count two. It is the break's where it came in the same read as the notice, or soon: from a device that sends a NUL of
// its own right behind a break (DMX) it cannot be told. Our own access server sends none, and says who it is.
func (c *Client) withoutNUL(data []byte) []byte {
	if !c.broke {
		return data
	}
	c.broke = false
	if data[0] == 0 && (c.reads == c.brokeIn || time.Since(c.brokeAt) <= nulFollows) {
		return data[1:]
	}
	return data
}

// found keeps an event for Next, at its place among the bytes that came during the opening.
func (c *Client) found(e uart.Event) {
	if c.opening && c.merged(e) {
		return
	}
	c.queue.Add(e)
}

// merged makes an event of the opening and those before it one, where nobody could do anything with the others: of the
// states that the server has told the last counts. It reports whether the event is kept that way.
func (c *Client) merged(e uart.Event) bool {
	if e.Kind == uart.KindLine {
		near := false // no data came since the last event
		last := c.queue.Last(func(_ uart.Event, atEnd bool) bool { near = atEnd; return true })
		if last != nil && last.Kind == uart.KindLine && (near || c.holding.Load()) {
			last.Line |= e.Line
			return true
		}
	}
	c.queue.Delete(func(earlier uart.Event) bool {
		switch e.Kind {
		case uart.KindModem:
			return earlier.Kind == e.Kind
		case uart.KindSuspended, uart.KindResumed:
			return earlier.Kind == uart.KindSuspended || earlier.Kind == uart.KindResumed
		case uart.KindLine:
			return earlier.Kind == e.Kind && c.holding.Load()
		}
		return false
	})
	return false
}

// changed keeps the news of a coding that nobody asked for. However many come in one subnegotiation, they are one event.
func (c *Client) changed(news uart.Coding) {
	last := c.queue.Last(func(uart.Event, bool) bool { return true })
	if last != nil && last.Kind == uart.KindChanged {
		last.Coding = news.Over(last.Coding)
		return
	}
	c.found(uart.Event{Kind: uart.KindChanged, Coding: news})
}

// rang does what is due when the time to wait for the peer is up.
func (c *Client) rang() error {
	now := time.Now()
	due, err := c.alarms.rang(now)
	if err == nil && c.holding.Load() {
		err = c.waited(due.has(greetingDue), now)
	}
	if err == nil && due.has(ackDue) {
		err = c.expire(now)
	}
	if due.has(ffSilence) {
		c.flushFF()
	}
	return err
}

// watchFF is called before each read, of a server that sends a 255 of data once: where one is the last byte so far, it is
// data when nothing follows it. With the last look that is after twice lastLook.
func (c *Client) watchFF() error {
	switch open := c.decoder.Pending(); {
	case open && c.openFF && !c.alarms.found:
		// The same one as before the last read, which has found nothing: what is due stays so. Set again at each look, it
		// could be due a moment after each, for ever.
	case open: // perhaps another one than before the last read
		c.openFF = true
		return c.alarms.set(ffSilence, time.Now().Add(lastLook))
	case c.openFF:
		c.openFF = false
		return c.alarms.set(ffSilence, time.Time{})
	}
	return nil
}

// flushFF has receive return a 255 that nothing has followed, and reports whether there was one.
func (c *Client) flushFF() bool {
	if !c.decoder.SingleFF || !c.decoder.Pending() {
		return false
	}
	c.putBack(c.decoder.Flush(), telnet.Message{})
	return true
}

// expire reports the settings whose time is up.
func (c *Client) expire(now time.Time) error {
	events, err := c.acks.expire(now)
	for _, e := range events {
		c.found(e)
	}
	return err
}

// handle does what a command of the server means.
func (c *Client) handle(m telnet.Message) error {
	c.broke = false
	switch {
	case m.TooLong:
		return c.skipped(m)
	case m.Command.Verb():
		return c.verb(m)
	case m.Command == telnet.SB && m.Option == telnet.ComPort:
		return c.commands(m.Sub)
	case m.Command < telnet.SE && !c.said255:
		// Nothing that Telnet knows follows a 255: the server has sent one of its data without doubling it.
		c.said255 = true
		c.log.Warn("access server sends 0xFF without doubling it: bytes are lost (--quirk single-ff takes them)")
	}
	return nil
}

func (c *Client) verb(m telnet.Message) error {
	if m.Option == telnet.TimingMark && (m.Command == telnet.WILL || m.Command == telnet.WONT) {
		if c.fence.Swap(nil) != nil { // it comes before the answer to any other
			c.fenced = true
			c.greeted()
			return nil
		}
		at, was := c.marked()
		if !was {
			return nil
		}
		c.found(uart.Event{Kind: uart.KindMarked, Bytes: at}) // either verb counts
		return c.answered()
	}
	if err := c.negotiate(m); err != nil {
		return err
	}
	if c.plain {
		c.binary()
	} else if !c.options.Us(telnet.ComPort) && !c.options.Peer(telnet.ComPort) {
		return fmt.Errorf("%w: it gave up COM-PORT-OPTION", ErrProtocol)
	}
	spoke := c.speaks.Load()
	verbs := c.learn(nil, m.Option)
	if !spoke && c.speaks.Load() { // the opening could not ask for the first mark
		verbs = c.firstMark(verbs)
	}
	return c.owe(verbs)
}

// commands takes a subnegotiation: mostly one command, from some servers several.
func (c *Client) commands(sub []byte) error {
	for len(sub) > 0 {
		cmd, rest, err := ParseCommand(sub)
		if err != nil {
			c.log.Debug("access server sends a command without its value", "code", cmd.Code.String())
			return nil
		}
		sub = rest
		if err := c.command(cmd); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) command(cmd Command) error {
	c.broke = false
	switch cmd.Code {
	case Signature + FromServer:
		c.ours = bytes.HasPrefix(cmd.Text, []byte(ourName))
		if len(cmd.Text) == 0 {
			return c.owe(AppendCommand(nil, Command{Code: Signature, Text: []byte(ourName)}))
		}
	case SetBaudRate + FromServer, SetDataSize + FromServer, SetParity + FromServer, SetStopSize + FromServer, SetControl + FromServer:
		news, err := c.acks.answer(cmd, time.Now())
		if news != (uart.Coding{}) {
			c.changed(news)
		}
		if err == nil && c.holding.Load() && c.acks.any() { // else it is no answer
			err = c.answered()
		}
		return err
	case SetLineMask + FromServer, PurgeData + FromServer: // said by no server unasked
		return c.answered()
	case NotifyLineState + FromServer:
		l := uart.LineState(cmd.Value)
		c.found(uart.Event{Kind: uart.KindLine, Line: l})
		if l&c.cfg.LineMask&uart.LineBreak != 0 && !c.ours {
			c.broke, c.brokeAt, c.brokeIn = true, time.Now(), c.reads
		}
	case NotifyModemState + FromServer:
		// The lower bits say what has changed since the last time, and are no state.
		if m := uart.ModemState(cmd.Value & 0xF0); !c.known || m != c.modem {
			c.modem, c.known = m, true
			c.found(uart.Event{Kind: uart.KindModem, Modem: m})
		}
	case FlowSuspend + FromServer, FlowResume + FromServer:
		if c.cfg.Quirks.Has(SuspendIgnore) {
			return nil
		}
		kind := uart.KindResumed
		if cmd.Code == FlowSuspend+FromServer {
			kind = uart.KindSuspended
		}
		c.found(uart.Event{Kind: kind})
	}
	return nil
}
