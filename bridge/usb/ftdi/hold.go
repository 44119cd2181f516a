package ftdi

import (
	"slices"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// If too many changes are queued for the remote, requests that change DTR, RTS or break are answered later: that blocks
// the application's call, as an adapter with a slow UART does, and bit-banging programs lose no edge. Neither the
// stream nor other requests wait for them.

const (
	// maxHold is how long a request is held at most. ftdi_sio gives up after 5 s (WDR_TIMEOUT), and the application
	// gets an error.
	maxHold = 4 * time.Second
	// holdPause is the interval at which checkHeld checks whether there still is a session to wait for.
	holdPause = 100 * time.Millisecond
)

// change is a held request and the change that it makes.
type change struct {
	transfer *usbip.Transfer
	event    uart.Event
	closing  bool      // the request begins a close
	end      time.Time // when holding it ends
}

// perform queues a change and answers its request, now or when there is room for it. Changes keep their order.
func (c *Chip) perform(t *usbip.Transfer, e uart.Event, closing bool) {
	c.mu.Lock()
	c.changes = append(c.changes, change{t, e, closing, time.Now().Add(maxHold)})
	c.performAll(false)
	held := len(c.changes) > 0
	c.mu.Unlock()
	if held && c.noSession() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.performAll(true)
	}
}

// noSession reports whether there is no session, so that waiting for bytes or changes to leave is pointless. The lock
// is not held.
func (c *Chip) noSession() bool { return c.config.Unsent != nil && c.config.Unsent().Left < 0 }

// performAll queues the changes for which there is room, or all of them regardless of room. It reports whether there
// was any. The caller holds mu.
func (c *Chip) performAll(all bool) (some bool) {
	for len(c.changes) > 0 {
		first := c.changes[0]
		if !all && !c.stuck && !c.closed && c.quiet == nil && c.up.Full(first.event) {
			if time.Now().Before(first.end) {
				break
			}
			c.stuck = true // no request is held until Next has returned something
		}
		c.changes = c.changes[1:]
		c.addLocked(first.event)
		if first.closing && c.state == stateOpen {
			c.state, c.closingSince = stateClosing, time.Now()
			c.startSettling()
		}
		first.transfer.Answer(nil)
		some = true
	}
	if len(c.changes) == 0 {
		c.changes = nil
		c.stopHolding()
	} else if c.holdTimer == nil {
		c.holdTimer = time.AfterFunc(holdPause, c.checkHeld)
	}
	return some
}

// checkHeld queues held changes whose time is up, or all of them if there is no session. holdTimer calls it while there
// are any.
func (c *Chip) checkHeld() {
	gone := c.noSession()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holdTimer == nil {
		return // all have been made meanwhile
	}
	c.holdTimer = nil
	if c.performAll(gone) && c.stream != nil {
		c.stream.FlushSoon()
	}
}

// stopHolding stops holdTimer. The caller holds mu.
func (c *Chip) stopHolding() {
	if c.holdTimer != nil {
		c.holdTimer.Stop()
		c.holdTimer = nil
	}
}

// forgetChange drops a change whose request was unlinked: it did not happen. The caller does not hold mu.
func (c *Chip) forgetChange(t *usbip.Transfer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = slices.DeleteFunc(c.changes, func(h change) bool { return h.transfer == t })
}
