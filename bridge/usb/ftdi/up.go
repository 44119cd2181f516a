package ftdi

import (
	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// The way of a byte from the application: the driver's OUT transfer -> takeOut -> ordered.Queue -> Next. Requests add their
// events to the same queue, see control.go.

// upMost is how many bytes may wait before transfers are stalled: more than a driver can have under way.
const upMost = 256 << 10

// takeOut queues the bytes of an OUT transfer. It answers at once or, if too much waits, after Next has taken some: until then
// the driver blocks, and so does the application.
func (c *Chip) takeOut(t *usbip.Transfer) {
	c.life.Lock()
	defer c.life.Unlock()
	if c.isClosed() {
		c.openPort(nil) // only an open port gets bytes: its open was not visible
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet != nil {
		t.Answer(nil)
		return
	}
	if c.up.Len()+t.Length > upMost {
		t.Stall() // the USB host has taken held transfers back and goes on
		return
	}
	c.up.Push(t.Data)
	c.heldOut = append(c.heldOut, t)
	c.release(ordered.Limit)
	c.upReady.Signal()
}

// Next implements uart.Port. It lends at most lendLimit bytes.
func (c *Chip) Next() ([]byte, uart.Event, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lent = false
	for !c.closed && c.up.Empty() {
		c.upReady.Wait()
	}
	if c.closed {
		return nil, uart.Event{}, uart.ErrClosed
	}
	c.stuck = false
	if e, ok := c.up.Event(); ok {
		if len(c.changes) > 0 && c.performAll(false) && c.stream != nil {
			c.stream.FlushSoon()
		}
		return nil, e, nil
	}
	n := c.up.Take(c.lendBuf[:])
	c.lent = true
	if c.release(ordered.Limit) && c.stream != nil {
		c.stream.FlushSoon() // Next waits for nothing but the application
	}
	return c.lendBuf[:n], uart.Event{}, nil
}

// add is addLocked for callers that do not hold the lock.
func (c *Chip) add(e uart.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addLocked(e)
}

// addLocked adds an event to the queue, unless it is a quiet time, and returns the Ready of an open that was merged away: to be
// called after the lock is released. The lock is held.
func (c *Chip) addLocked(e uart.Event) (swallowed func(error)) {
	if c.quiet != nil {
		return nil
	}
	outcome := c.up.Add(e)
	c.upReady.Signal()
	if outcome.Moved && !c.loggedMoved {
		c.loggedMoved = true
		c.log.Warn("changes of settings are late, after bytes that were written later: too many of them wait for the remote")
	}
	return outcome.Ready
}

// isQuiet reports whether it is a quiet time. The lock is not held. A quiet time begins only while no driver has the adapter.
func (c *Chip) isQuiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet != nil
}

// urgent announces an event that Next will return later. The lock is not held.
func (c *Chip) urgent(e uart.Event) {
	if c.config.Urgent != nil {
		c.config.Urgent(e)
	}
}
