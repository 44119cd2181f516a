package rfc2217

import (
	"errors"
	"net"
	"time"

	"telnetcpc/bridge/uart"
)

// What a server says before it has answered a setting or a mark of this session is no device's: ser2net greets each client
// with its banner, after the agreement. But some servers answer neither, and some answer late. So data is held, and the
// application's first bytes are kept back, until one of these comes:
//
//   - an answer to a setting, or to a later mark: what was held is the greeting, and is dropped;
//   - the time in which the answer would have come, where the application has written: what was held is the device's. It
//     has not been given a byte that it could have answered before;
//   - heldMost after the opening, for a program that writes nothing: it is the device's too.
//
// So are more than openingKeeps bytes. Events are not held. The answer to the opening's own mark has what came before it
// dropped, and does not end the holding: ser2net's Telnet answers it, and what is above that greets a moment later.

// heldMost is how long data is held after the opening at least, where nobody writes.
const heldMost = time.Second

// answerAtLeast is how long after the state of the port was sent the answer of a server may be on its way. All that are
// recorded give one, but gensiot; one on a loaded machine, or over a slow device, is slower with it than it was with its
// agreement, which the round trip is measured by.
const answerAtLeast = 100 * time.Millisecond

// answerTime is how long the answer to the state of the port is waited for.
func (c *Client) answerTime() time.Duration { return max(2*c.trip, answerAtLeast) }

// startHolding begins the session's part of it, where nothing is decided yet.
func (c *Client) startHolding(now time.Time) error {
	if !c.holding.Load() {
		return nil
	}
	if c.queue.Len() > openingKeeps {
		c.settle()
		return nil
	}
	c.queue.ItemsFirst()
	c.unwritten, c.answerBy = true, now.Add(c.answerTime())
	return c.alarms.set(greetingDue, now.Add(max(heldMost, c.answerTime())))
}

// settle ends the holding, and reports whether it has done so: the other side may have been faster.
func (c *Client) settle() bool {
	if !c.holding.CompareAndSwap(true, false) {
		return false
	}
	close(c.settled)
	return true
}

// awaitAnswer keeps the application's first bytes back until it is settled whose is what comes before the device can have
// answered them. The writer calls it.
func (c *Client) awaitAnswer() error {
	if !c.holding.Load() {
		return nil
	}
	enough := time.NewTimer(time.Until(c.answerBy))
	defer enough.Stop()
	select {
	case <-c.settled:
	case <-c.ending: // the write will say so
	case <-enough.C:
		if c.settle() {
			return c.alarms.set(greetingDue, time.Now()) // the reader hands out what it has
		}
	}
	return nil
}

// hold keeps data of which it is not known yet whose it is.
func (c *Client) hold(data []byte) error {
	if c.queue.Push(data); saysInUse(c.queue.Bytes(), len(data)) {
		return ErrInUse
	}
	if c.queue.Len() > openingKeeps {
		return c.decided()
	}
	return nil
}

// answered notes that the server has answered a setting, or a mark behind it: what came before that is its greeting.
func (c *Client) answered() error {
	if !c.settle() {
		return nil
	}
	c.drop()
	return c.alarms.set(greetingDue, time.Time{})
}

// greeted drops what is held: it is the server's greeting, or the beginning of it. No byte of the application's has been
// given to TCP when that was read.
func (c *Client) greeted() {
	if !c.holding.Load() {
		return
	}
	c.drop()
}

// drop drops what was held so far.
func (c *Client) drop() {
	n, text := c.queue.Len(), excerpt(c.queue.Bytes())
	c.queue.Drop()
	if n > 0 {
		c.found(uart.Event{Kind: uart.KindGreeting, Bytes: uint64(n), Answer: text})
	}
}

// decided ends the holding: what is held now, and what comes, is the device's.
func (c *Client) decided() error {
	c.settle()
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
// error. A server that cannot open its device says so, and closes; what comes after the answer to the opening's mark may be
// the device's as well, and counts as that. Where our side has closed, nobody reads the data: its port counts it.
func (c *Client) undecided(err error) bool {
	if c.queue.Len() == 0 || errors.Is(err, ErrInUse) {
		return false
	}
	c.end = err
	if c.fenced || errors.Is(err, net.ErrClosed) || c.alarms.passed(greetingDue, time.Now()) {
		_ = c.decided()
		return true
	}
	if text := c.queue.Bytes(); SaysInUse(text, true) {
		c.end = &InUseError{Said: beginning(text)}
	}
	_ = c.answered()
	return true
}
