package ftdi

import (
	"slices"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// Requests that change DTR, RTS or break are answered later where too many changes wait for the remote: the application's
// call is held, as by an adapter whose UART is slow, and bit-banging programs get all their edges out. Nothing else waits
// for that: neither the stream nor other requests.

const (
	// holdMost is how long a request is held. ftdi_sio gives one up after 5 s (WDR_TIMEOUT), and the application gets an error.
	holdMost = 4 * time.Second
	// holdPause is how often it is asked meanwhile whether there is a session that anything is waited for.
	holdPause = 100 * time.Millisecond
)

// change is what a request changes, and the request.
type change struct {
	transfer *usbip.Transfer
	event    uart.Event
	closing  bool // it is what a close does first
	end      time.Time
}

// perform performs a change and answers its request, now or when there is room for it. Those that come later stay later.
func (c *Chip) perform(t *usbip.Transfer, e uart.Event, closing bool) {
	c.mu.Lock()
	c.changes = append(c.changes, change{t, e, closing, time.Now().Add(holdMost)})
	c.performAll(false)
	held := len(c.changes) > 0
	c.mu.Unlock()
	if held && c.nobodyWaits() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.performAll(true)
	}
}

// nobodyWaits reports whether there is no session, so that no byte and no change is waited for. It is called without the
// lock.
func (c *Chip) nobodyWaits() bool { return c.config.Unsent != nil && c.config.Unsent().Left < 0 }

// performAll performs the changes for which there is room, or all: whatever room there is. It reports whether there was one;
// the lock is held.
func (c *Chip) performAll(all bool) (some bool) {
	for len(c.changes) > 0 {
		first := c.changes[0]
		if !all && !c.stuck && !c.closed && c.quiet == nil && c.up.Full(first.event) {
			if time.Now().Before(first.end) {
				break
			}
			c.stuck = true // nobody is held any more until something was taken
		}
		c.changes = c.changes[1:]
		c.tell(first.event)
		if first.closing && c.state == stateOpen {
			c.state, c.fell = stateClosing, time.Now()
			c.uncertain()
		}
		first.transfer.Answer(nil)
		some = true
	}
	if len(c.changes) == 0 {
		c.changes = nil
		c.stopHolding()
	} else if c.holding == nil {
		c.holding = time.AfterFunc(holdPause, c.holds)
	}
	return some
}

// holds looks after the changes that are held. A timer calls it, as long as there are some.
func (c *Chip) holds() {
	gone := c.nobodyWaits()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holding == nil {
		return // all were made meanwhile
	}
	c.holding = nil
	if c.performAll(gone) && c.stream != nil {
		c.stream.FlushSoon()
	}
}

// stopHolding ends the timer; the lock is held.
func (c *Chip) stopHolding() {
	if c.holding != nil {
		c.holding.Stop()
		c.holding = nil
	}
}

// forget forgets a change whose request was taken back: it did not happen. The lock is not held.
func (c *Chip) forget(t *usbip.Transfer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = slices.DeleteFunc(c.changes, func(h change) bool { return h.transfer == t })
}
