package rfc2217

import (
	"errors"
	"net"
	"time"

	"telnetcpc/bridge/uart"
)

// What a server sends before it has answered a setting or a mark of this session is not the device's: ser2net greets each
// client with its banner after the agreement. But some servers answer neither, and some answer late. So data is held, and the
// application's first bytes are kept back, until one of these happens:
//
//   - an answer to a setting, or to a mark other than the opening's: what was held is the greeting, and is dropped;
//   - the application has written and the time for an answer is up: what was held is the device's. The device has not been
//     given a byte yet, so its answer to one is never dropped;
//   - heldMost has passed since the opening, and the application has not written: it is the device's too.
//
// Held data of more than openingKeeps bytes is the device's. Events are not held. The answer to the opening's own mark drops
// what came before it and does not end the holding: ser2net's Telnet layer answers it, and the layer above greets a moment
// later.

// heldMost is how long data is held after the opening if the application does not write.
const heldMost = time.Second

// answerAtLeast is the least time to wait for an answer to the state of the port. All recorded servers but gensiot answer. A
// loaded machine or a slow device makes that answer slower than the agreement, by which the round trip is measured.
const answerAtLeast = 100 * time.Millisecond

// answerTime is how long to wait for an answer to the state of the port.
func (c *Client) answerTime() time.Duration { return max(2*c.roundTrip, answerAtLeast) }

// startHolding goes on holding in the session, if nothing is decided yet.
func (c *Client) startHolding(now time.Time) error {
	if !c.holding.Load() {
		return nil
	}
	if c.queue.Len() > openingKeeps {
		c.settle()
		return nil
	}
	c.queue.ItemsFirst()
	c.firstWrite, c.answerBy = true, now.Add(c.answerTime())
	return c.alarms.set(greetingDue, now.Add(max(heldMost, c.answerTime())))
}

// settle ends the holding. It reports false if the other goroutine was faster.
func (c *Client) settle() bool {
	if !c.holding.CompareAndSwap(true, false) {
		return false
	}
	close(c.settled)
	return true
}

// awaitAnswer keeps the application's first bytes back until the holding ends: then everything that came before the device
// could answer them is decided. The writer calls it.
func (c *Client) awaitAnswer() error {
	if !c.holding.Load() {
		return nil
	}
	enough := time.NewTimer(time.Until(c.answerBy))
	defer enough.Stop()
	select {
	case <-c.settled:
	case <-c.ending: // the write fails
	case <-enough.C:
		if c.settle() {
			return c.alarms.set(greetingDue, time.Now()) // the reader returns what is held
		}
	}
	return nil
}

// hold holds data.
func (c *Client) hold(data []byte) error {
	if c.queue.Push(data); saysInUse(c.queue.Bytes(), len(data)) {
		return ErrInUse
	}
	if c.queue.Len() > openingKeeps {
		return c.keepHeld()
	}
	return nil
}

// gotAnswer is called when the server has answered a setting or a later mark: what came before is its greeting.
func (c *Client) gotAnswer() error {
	if !c.settle() {
		return nil
	}
	c.drop()
	return c.alarms.set(greetingDue, time.Time{})
}

// dropGreeting drops what is held, if anything is: it is the server's greeting, or its beginning. None of the application's
// bytes had been given to TCP when it was read.
func (c *Client) dropGreeting() {
	if !c.holding.Load() {
		return
	}
	c.drop()
}

// drop drops what is held, and reports it.
func (c *Client) drop() {
	n, text := c.queue.Len(), excerpt(c.queue.Bytes())
	c.queue.Drop()
	if n > 0 {
		c.report(uart.Event{Kind: uart.KindGreeting, Bytes: uint64(n), Answer: text})
	}
}

// keepHeld ends the holding: what is held, and what comes, is the device's.
func (c *Client) keepHeld() error {
	c.settle()
	return c.alarms.set(greetingDue, time.Time{})
}

// greetingTimeout is called when a read has timed out; due: the time for an answer is up and a recheck has found nothing. An
// answer that came in time may be unread: one more read is taken first. No more than one, since a device may talk without a
// pause.
func (c *Client) greetingTimeout(due bool, now time.Time) error {
	if due || c.lastRead {
		return c.keepHeld()
	}
	c.lastRead = c.alarms.passed(greetingDue, now)
	return nil
}

// endWhileHolding takes the end of a session while data is held. It reports whether Next must return something before the
// error. A server that cannot open its device says so and closes: that is its greeting. What came after the answer to the
// opening's mark may be the device's, and counts as that. If our side has closed, it counts as the device's too: nobody reads
// it, and the port counts it as lost.
func (c *Client) endWhileHolding(err error) bool {
	if c.queue.Len() == 0 || errors.Is(err, ErrInUse) {
		return false
	}
	c.end = err
	if c.firstMarkAnswered || errors.Is(err, net.ErrClosed) || c.alarms.passed(greetingDue, time.Now()) {
		_ = c.keepHeld()
		return true
	}
	if text := c.queue.Bytes(); SaysInUse(text, true) {
		c.end = &InUseError{Said: beginning(text)}
	}
	_ = c.gotAnswer()
	return true
}
