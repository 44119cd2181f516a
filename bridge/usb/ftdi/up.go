package ftdi

import (
	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// The path of a byte from the application: the driver's OUT transfer -> takeOut -> ordered.Queue -> Next. Requests add
// their events to the same queue, see control.go.

// maxUp is how many bytes may be queued before transfers are stalled: more than a driver can have in flight.
const maxUp = 256 << 10

// takeOut queues the bytes of an OUT transfer. It answers at once or, if too many are queued, after Next has returned
// some: until then the driver blocks, and so does the application.
func (c *Chip) takeOut(t *usbip.Transfer) {
	c.life.Lock()
	defer c.life.Unlock()
	if c.isClosed() {
		c.openPort(nil) // its open was not visible, but a driver sends bytes only from an open port
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet != nil {
		t.Answer(nil)
		return
	}
	if c.up.Len()+t.Length > maxUp {
		t.Stall() // only a USB host that unlinks held transfers and submits more gets here
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
		c.stream.FlushSoon() // not Flush: Next waits for the application only
	}
	return c.lendBuf[:n], uart.Event{}, nil
}

// add is addLocked for callers that do not hold the lock.
func (c *Chip) add(e uart.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addLocked(e)
}

// addLocked adds an event to the queue, except in a quiet period, and returns the Ready of an open that was merged
// away, which the caller must call after it has released mu. The caller holds mu.
func (c *Chip) addLocked(e uart.Event) (mergedReady func(error)) {
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

// isQuiet reports whether this is a quiet period. The caller does not hold mu. A quiet period begins only while no
// driver has the adapter.
func (c *Chip) isQuiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet != nil
}

// urgent announces an event that Next will return later. The caller does not hold mu.
func (c *Chip) urgent(e uart.Event) {
	if c.config.Urgent != nil {
		c.config.Urgent(e)
	}
}
