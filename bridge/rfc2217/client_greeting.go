package rfc2217

import (
	"errors"
	"net"
	"time"

	"telnetcpc/bridge/uart"
)

// What a server sends before it has answered a setting or a mark of this session is the server's own text, not the
// device's: ser2net sends each client its banner after the agreement. But some servers answer neither, and some answer
// late. So data that comes is held, and the application's first bytes wait, until one of these happens:
//
//   - an answer to a setting, or to a mark other than the opening's: what was held is the greeting, and is dropped;
//   - the application has written and the time for an answer is up: what was held is the device's. The device has not been
//     given a byte yet, so its answer to one is never dropped;
//   - heldMost has passed since the opening, and the application has not written: it is the device's too.
//
// Held data of more than openingMemory bytes is the device's. Events are not held. The answer to the opening's own mark
// drops what came before it and does not end the holding: ser2net's Telnet layer answers it, and the layer above sends
// the banner a moment later.

// heldMost is how long data is held after the opening if the application does not write.
const heldMost = time.Second

// answerAtLeast is the least time to wait for an answer to the state of the port. All recorded servers except gensiot
// answer. On a loaded machine, or with a slow device, that answer takes longer than the agreement, with which the round
// trip is measured.
const answerAtLeast = 100 * time.Millisecond

// answerTime is how long to wait for an answer to the state of the port.
func (c *Client) answerTime() time.Duration { return max(2*c.roundTrip, answerAtLeast) }

// startHolding continues to hold data when the session begins, if nothing is decided yet.
func (c *Client) startHolding(now time.Time) error {
	if !c.holding.Load() {
		return nil
	}
	if c.queue.Len() > openingMemory {
		c.settle()
		return nil
	}
	c.queue.ItemsFirst()
	c.firstWrite, c.answerBy = true, now.Add(c.answerTime())
	return c.alarms.set(greetingDue, now.Add(max(heldMost, c.answerTime())))
}

// settle ends the holding. It returns false if it had ended already.
func (c *Client) settle() bool {
	if !c.holding.CompareAndSwap(true, false) {
		return false
	}
	close(c.settled)
	return true
}

// awaitAnswer blocks the application's first Write until the holding ends: by then it is decided whose the data is that
// came before the device could answer. The writer calls it.
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

// hold queues data while it is undecided whose it is. It returns ErrInUse if the text contains InUse.
func (c *Client) hold(data []byte) error {
	if c.queue.Push(data); containsInUse(c.queue.Bytes(), len(data)) {
		return ErrInUse
	}
	if c.queue.Len() > openingMemory {
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

// dropGreeting drops what is held: it is the server's greeting, or its beginning, because none of the application's bytes
// had been given to TCP when it was read.
func (c *Client) dropGreeting() {
	if !c.holding.Load() {
		return
	}
	c.drop()
}

// drop drops what is held, and reports it as a uart.KindGreeting.
func (c *Client) drop() {
	n, text := c.queue.Len(), excerpt(c.queue.Bytes())
	c.queue.Drop()
	if n > 0 {
		c.report(uart.Event{Kind: uart.KindGreeting, Bytes: uint64(n), Answer: text})
	}
}

// keepHeld ends the holding: what is held, and all that follows, is the device's.
func (c *Client) keepHeld() error {
	c.settle()
	return c.alarms.set(greetingDue, time.Time{})
}

// greetingTimeout is called when a read has timed out; due: the time for an answer is up and a recheck has found nothing.
// An answer that came in time may be unread, so one more read comes first: only one, because a device may send without a
// pause.
func (c *Client) greetingTimeout(due bool, now time.Time) error {
	if due || c.lastRead {
		return c.keepHeld()
	}
	c.lastRead = c.alarms.passed(greetingDue, now)
	return nil
}

// endWhileHolding handles the end of a session while data is held. It reports whether Next must return something before
// the error. A server that cannot open its device sends a text and closes: that text is its greeting. What came after the
// answer to the opening's mark may be the device's, and counts as the device's. So does everything if our side has
// closed: nobody reads it any more, and the port counts it as lost.
func (c *Client) endWhileHolding(err error) bool {
	if c.queue.Len() == 0 || errors.Is(err, ErrInUse) {
		return false
	}
	c.end = err
	if c.firstMarkAnswered || errors.Is(err, net.ErrClosed) || c.alarms.passed(greetingDue, time.Now()) {
		_ = c.keepHeld()
		return true
	}
	if text := c.queue.Bytes(); MeansInUse(text, true) {
		c.end = &InUseError{Text: beginning(text)}
	}
	_ = c.gotAnswer()
	return true
}
