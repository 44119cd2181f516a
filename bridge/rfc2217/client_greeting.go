package rfc2217

import (
	"errors"
	"net"
	"time"

	"telnetcpc/bridge/uart"
)

// What a server says before it has answered a setting or a mark of this session is no device's: ser2net greets each client
// with its banner, behind the agreement. But some servers answer neither. So data is held until one of these comes:
//
//   - an answer to a setting, or to a mark behind it: what was held is the greeting, and is dropped;
//   - the time in which the answer would have come, one round trip after the application's first byte was given to TCP, and
//     answerAtLeast where the server knows Telnet well: it is the device's, which may have answered that byte;
//   - heldMost after the opening, for a program that writes nothing: it is the device's too.
//
// So are more than openingKeeps bytes. Events are not held. The answer to the opening's own mark has what came before it
// dropped, and does not end the holding: ser2net's Telnet answers it, and what is above that greets a moment later.

// heldMost is how long data is held after the opening.
const heldMost = time.Second

// answerAtLeast is how long after the application's first byte the answer of a server that has spoken of options other
// than 44 may be on its way: it comes before the device's. All that are recorded give one, but gensiot; one on a loaded machine,
// or over a slow device, is slower with it than it was with its agreement, which the round trip is measured by.
const answerAtLeast = 100 * time.Millisecond

// startHolding begins the session's part of it, where nothing is decided yet.
func (c *Client) startHolding(now time.Time) error {
	if !c.holding.Load() {
		return nil
	}
	if len(c.early) > openingKeeps {
		return c.decided()
	}
	for i := range c.events {
		c.events[i].behind = 0
	}
	c.unwritten, c.heldUntil = true, now.Add(heldMost)
	return c.alarms.set(greetingDue, c.heldUntil)
}

// firstWritten notes that the application's first bytes were given to TCP. The writer calls it.
func (c *Client) firstWritten(now time.Time) {
	wait := c.trip
	if c.speaks.Load() {
		wait = max(wait, answerAtLeast)
	}
	if at := now.Add(wait); c.holding.Load() && at.Before(c.heldUntil) {
		_ = c.alarms.set(greetingDue, at) // a connection that takes no deadline fails the reader too
	}
}

// hold keeps data of which it is not known yet whose it is.
func (c *Client) hold(data []byte) error {
	if c.early = append(c.early, data...); saysInUse(c.early, len(data)) {
		return ErrInUse
	}
	if len(c.early) > openingKeeps {
		return c.decided()
	}
	return nil
}

// answered notes that the server has answered a setting, or a mark behind it: what came before that is its greeting.
func (c *Client) answered() error {
	if !c.holding.Load() {
		return nil
	}
	c.greeted()
	return c.decided()
}

// greeted drops what is held: it is the server's greeting, or the beginning of it.
func (c *Client) greeted() {
	if !c.holding.Load() {
		return
	}
	text := c.early
	c.early = nil
	for i := range c.events {
		c.events[i].behind = 0
	}
	if len(text) > 0 {
		c.found(uart.Event{Kind: uart.KindGreeting, Bytes: uint64(len(text)), Answer: excerpt(text)})
	}
}

// decided ends the holding: what is held now, and what comes, is the device's.
func (c *Client) decided() error {
	c.holding.Store(false)
	return c.alarms.set(greetingDue, time.Time{})
}

// waited is called when a read's time was up; due: that of the greeting, and nothing was there. An answer that came in time
// may lie unread: what one look finds is taken first, and no more, as a device may talk without a pause.
func (c *Client) waited(due bool, now time.Time) error {
	if due || c.looked {
		return c.decided()
	}
	c.looked = c.alarms.passed(greetingDue, now)
	return nil
}

// undecided takes the end of a session while data is held, and reports whether something is to be handed out before the
// error. A server that cannot open its device says so, and closes; what comes behind the answer to the opening's mark may be
// the device's as well, and counts as that. Where our side has closed, nobody reads the data: its
// port counts it.
func (c *Client) undecided(err error) bool {
	if len(c.early) == 0 || errors.Is(err, ErrInUse) {
		return false
	}
	c.end = err
	if c.fenced || errors.Is(err, net.ErrClosed) || c.alarms.passed(greetingDue, time.Now()) {
		_ = c.decided()
		return true
	}
	_ = c.answered()
	return true
}
