package ftdi

import (
	"slices"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// If too many changes wait for the remote, requests that change DTR, RTS or break are answered later: that blocks the
// application's call, as an adapter with a slow UART does, and bit-banging programs lose no edge. Nothing else waits for them,
// neither the stream nor other requests.

const (
	// holdMost is how long a request is held at most. ftdi_sio gives up after 5 s (WDR_TIMEOUT), and the application gets an
	// error.
	holdMost = 4 * time.Second
	// holdPause is how often to check meanwhile whether there still is a session to wait for.
	holdPause = 100 * time.Millisecond
)

// change is the change that a request makes, and the request.
type change struct {
	transfer *usbip.Transfer
	event    uart.Event
	closing  bool      // a close begins with it
	end      time.Time // when it is not held any longer
}

// perform makes a change and answers its request, now or when there is room for it. The order of changes is kept.
func (c *Chip) perform(t *usbip.Transfer, e uart.Event, closing bool) {
	c.mu.Lock()
	c.changes = append(c.changes, change{t, e, closing, time.Now().Add(holdMost)})
	c.performAll(false)
	held := len(c.changes) > 0
	c.mu.Unlock()
	if held && c.noSession() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.performAll(true)
	}
}

// noSession reports whether there is no session, so that waiting for bytes or changes to leave makes no sense. The lock is not
// held.
func (c *Chip) noSession() bool { return c.config.Unsent != nil && c.config.Unsent().Left < 0 }

// performAll makes the changes for which there is room, or all of them whatever the room. It reports whether there was any.
// The lock is held.
func (c *Chip) performAll(all bool) (some bool) {
	for len(c.changes) > 0 {
		first := c.changes[0]
		if !all && !c.stuck && !c.closed && c.quiet == nil && c.up.Full(first.event) {
			if time.Now().Before(first.end) {
				break
			}
			c.stuck = true // no request is held any more until Next takes something
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

// checkHeld makes held changes if it is time. holdTimer calls it as long as there are any.
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

// stopHolding stops holdTimer. The lock is held.
func (c *Chip) stopHolding() {
	if c.holdTimer != nil {
		c.holdTimer.Stop()
		c.holdTimer = nil
	}
}

// forgetChange drops a change whose request was taken back: it did not happen. The lock is not held.
func (c *Chip) forgetChange(t *usbip.Transfer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = slices.DeleteFunc(c.changes, func(h change) bool { return h.transfer == t })
}
