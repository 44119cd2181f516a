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

// Next waits for bytes from the device, or one event. The bytes are valid until the following call.
func (c *Client) Next() ([]byte, uart.Event, error) {
	for {
		holding := c.holding.Load()
		if !c.queue.Empty() { // rare: most data goes from the connection to the caller
			if !holding {
				if p := c.queue.Run(); len(p) > 0 {
					c.queue.Skip(len(p))
					return p, uart.Event{}, nil
				}
			}
			if e, ok := c.queue.First(); ok {
				return nil, e, nil
			}
		}
		if c.end != nil {
			return nil, uart.Event{}, c.end
		}
		var data []byte
		var m telnet.Message
		err := c.fill()
		if err == nil {
			c.alarms.sawBytes()
			data, m, err = c.receive()
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = c.deadlinePassed()
		case errors.Is(err, io.EOF) && c.flushFF(): // the error comes again after it
			err = nil
		case err == nil && m.Command == 0:
			if data = c.withoutBreakNUL(data); len(data) == 0 {
				continue
			}
			if holding {
				err = c.hold(data)
				break
			}
			if !c.gotData && bytes.HasPrefix(data, []byte(InUse)) {
				return nil, uart.Event{}, ErrInUse
			}
			c.gotData = true
			return data, uart.Event{}, nil
		case err == nil:
			err = c.handle(m)
		}
		switch {
		case err == nil, holding && c.endWhileHolding(err):
		case c.queue.Items() > 0: // of the command that failed
			c.end = err
		default:
			return nil, uart.Event{}, err
		}
	}
}

// nulFollows is how soon after the notice of a break the NUL comes that the UART received with it.
const nulFollows = 50 * time.Millisecond

// withoutBreakNUL removes the NUL of a break from data that follows its notice: otherwise the application would get the
// break twice. A NUL belongs to the break if it came in the same read as the notice, or soon after. A NUL that the device
// sends right after a break (DMX) cannot be distinguished from it. Our own access server sends no such NUL, and
// identifies itself.
func (c *Client) withoutBreakNUL(data []byte) []byte {
	if !c.breakNotice {
		return data
	}
	c.breakNotice = false
	if data[0] == 0 && (c.reads == c.breakRead || time.Since(c.breakAt) <= nulFollows) {
		return data[1:]
	}
	return data
}

// report queues an event for Next, at its place in the held data.
func (c *Client) report(e uart.Event) {
	if c.opening && c.mergedInOpening(e) {
		return
	}
	c.queue.Add(e)
}

// mergedInOpening merges an event of the opening into an earlier one that it makes obsolete: only the last state that the
// server has reported matters. It reports whether the event was merged.
func (c *Client) mergedInOpening(e uart.Event) bool {
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

// reportChange queues a change of the line coding at the server. Several in one subnegotiation are one event.
func (c *Client) reportChange(changed uart.Coding) {
	last := c.queue.Last(func(uart.Event, bool) bool { return true })
	if last != nil && last.Kind == uart.KindChanged {
		last.Coding = changed.Over(last.Coding)
		return
	}
	c.report(uart.Event{Kind: uart.KindChanged, Coding: changed})
}

// deadlinePassed handles a read that has timed out: it does what is due.
func (c *Client) deadlinePassed() error {
	now := time.Now()
	due, err := c.alarms.expired(now)
	if err == nil && c.holding.Load() {
		err = c.greetingTimeout(due.has(greetingDue), now)
	}
	if err == nil && due.has(ackDue) {
		err = c.expire(now)
	}
	if due.has(ffSilence) {
		c.flushFF()
	}
	return err
}

// watchFF is called before each read from a server that sends a 255 of data once. If one is the last byte read, it is data
// unless something follows it within recheckTime and the recheck after that.
func (c *Client) watchFF() error {
	switch open := c.decoder.Pending(); {
	case open && c.ffAlarm && !c.alarms.gotBytes:
		// The same 255 as before the last read, which has found nothing. Its alarm stays as it is: set again at each recheck,
		// it would never be due.
	case open: // perhaps not the same 255 as before the last read
		c.ffAlarm = true
		return c.alarms.set(ffSilence, time.Now().Add(recheckTime))
	case c.ffAlarm:
		c.ffAlarm = false
		return c.alarms.set(ffSilence, time.Time{})
	}
	return nil
}

// flushFF makes receive return a 255 that nothing has followed. It reports whether there was one.
func (c *Client) flushFF() bool {
	if !c.decoder.SingleFF || !c.decoder.Pending() {
		return false
	}
	c.putBack(c.decoder.Flush(), telnet.Message{})
	return true
}

// expire reports the settings that are unconfirmed for too long.
func (c *Client) expire(now time.Time) error {
	events, err := c.acks.expire(now)
	for _, e := range events {
		c.report(e)
	}
	return err
}

// handle processes a command of the server.
func (c *Client) handle(m telnet.Message) error {
	c.breakNotice = false
	switch {
	case m.TooLong:
		return c.handleSkipped(m)
	case m.Command.Verb():
		return c.verb(m)
	case m.Command == telnet.SB && m.Option == telnet.ComPort:
		return c.commands(m.Sub)
	case m.Command < telnet.SE && !c.warned255:
		// This is no Telnet command: the server has sent a data byte 255 without doubling it.
		c.warned255 = true
		c.log.Warn("access server sends 0xFF without doubling it: bytes are lost (--quirk single-ff takes them)")
	}
	return nil
}

func (c *Client) verb(m telnet.Message) error {
	if m.Option == telnet.TimingMark && (m.Command == telnet.WILL || m.Command == telnet.WONT) {
		if c.firstMarkDue.Swap(nil) != nil { // a server answers it before any other mark
			c.firstMarkAnswered = true
			c.dropGreeting()
			return nil
		}
		at, was := c.takeMark()
		if !was {
			return nil
		}
		c.report(uart.Event{Kind: uart.KindMarked, Bytes: at}) // either verb is an answer
		return c.gotAnswer()
	}
	if err := c.negotiate(m); err != nil {
		return err
	}
	if c.plain {
		c.binary()
	} else if !c.options.Us(telnet.ComPort) && !c.options.Peer(telnet.ComPort) {
		return fmt.Errorf("%w: it gave up COM-PORT-OPTION", ErrProtocol)
	}
	spoke := c.negotiates.Load()
	verbs := c.learnOption(nil, m.Option)
	if !spoke && c.negotiates.Load() { // only now is it known to understand marks
		verbs = c.appendFirstMark(verbs)
	}
	return c.owe(verbs)
}

// commands processes a subnegotiation: one command, from some servers several.
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
	c.breakNotice = false
	switch cmd.Code {
	case Signature + FromServer:
		c.ownServer = bytes.HasPrefix(cmd.Text, []byte(ourName))
		if len(cmd.Text) == 0 {
			return c.owe(AppendCommand(nil, Command{Code: Signature, Text: []byte(ourName)}))
		}
	case SetBaudRate + FromServer, SetDataSize + FromServer, SetParity + FromServer, SetStopSize + FromServer, SetControl + FromServer:
		changed, err := c.acks.answered(cmd, time.Now())
		if changed != (uart.Coding{}) {
			c.reportChange(changed)
		}
		if err == nil && c.holding.Load() && c.acks.anyRequested() { // otherwise it is unsolicited
			err = c.gotAnswer()
		}
		return err
	case SetLineMask + FromServer, PurgeData + FromServer: // no server sends them unsolicited
		return c.gotAnswer()
	case NotifyLineState + FromServer:
		l := uart.LineState(cmd.Value)
		c.report(uart.Event{Kind: uart.KindLine, Line: l})
		if l&c.cfg.LineMask&uart.LineBreak != 0 && !c.ownServer {
			c.breakNotice, c.breakAt, c.breakRead = true, time.Now(), c.reads
		}
	case NotifyModemState + FromServer:
		// The lower bits are the changes since the last notice, not a state.
		if m := uart.ModemState(cmd.Value & 0xF0); !c.modemKnown || m != c.modem {
			c.modem, c.modemKnown = m, true
			c.report(uart.Event{Kind: uart.KindModem, Modem: m})
		}
	case FlowSuspend + FromServer, FlowResume + FromServer:
		if c.cfg.Quirks.Has(SuspendIgnore) {
			return nil
		}
		kind := uart.KindResumed
		if cmd.Code == FlowSuspend+FromServer {
			kind = uart.KindSuspended
		}
		c.report(uart.Event{Kind: kind})
	}
	return nil
}
