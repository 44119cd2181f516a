package ftdi

import (
	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// The way of a byte from the application: the driver's OUT transfer -> takeOut -> ordered.Queue -> Next. Requests put their
// events into the same queue, see control.go.

// upMost is how many bytes may wait before transfers are refused: more than a driver can have under way.
const upMost = 256 << 10

// takeOut takes the bytes of a transfer. It answers at once, or where too much waits, when Next has taken some: the
// driver then keeps what follows, and so does the application.
func (c *Chip) takeOut(t *usbip.Transfer) {
	c.life.Lock()
	defer c.life.Unlock()
	if c.isClosed() {
		c.openPort(nil) // nobody writes to a port that nobody has open: the open was not seen
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet != nil {
		t.Answer(nil)
		return
	}
	if c.up.Len()+t.Length > upMost {
		t.Stall() // a host that takes back what was held, and goes on
		return
	}
	c.up.Push(t.Data)
	c.held = append(c.held, t)
	c.release(ordered.Limit)
	c.upReady.Signal()
}

// Next implements uart.Port. It lends at most 4096 bytes.
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
	n := c.up.Take(c.lending[:])
	c.lent = true
	if c.release(ordered.Limit) && c.stream != nil {
		c.stream.FlushSoon() // Next waits for the application alone
	}
	return c.lending[:n], uart.Event{}, nil
}

// push is tell where the lock is not held.
func (c *Chip) push(e uart.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell(e)
}

// tell puts an event at its place, and returns the Ready of an open that was swallowed: to be called without the lock. The
// lock is held.
func (c *Chip) tell(e uart.Event) (swallowed func(error)) {
	if c.quiet != nil {
		return nil
	}
	outcome := c.up.Add(e)
	c.upReady.Signal()
	if outcome.Moved && !c.saidMoved {
		c.saidMoved = true
		c.log.Warn("changes of settings come behind bytes that were written after them: too many of them wait for the remote")
	}
	return outcome.Ready
}

// isQuiet reports whether nobody is told; the lock is not held. It changes to true only while no driver has the adapter.
func (c *Chip) isQuiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet != nil
}

// urgent calls out what Next will say later; the lock is not held.
func (c *Chip) urgent(e uart.Event) {
	if c.config.Urgent != nil {
		c.config.Urgent(e)
	}
}
