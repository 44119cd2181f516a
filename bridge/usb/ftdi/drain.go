package ftdi

import (
	"time"

	"telnetcpc/bridge/ordered"
)

// Before the driver ends a drain or goes on with a close, it polls whether the transmitter is empty. Before that it waits until
// it has no bytes itself, and so for the answers to its OUT transfers.

// transmitter is what is known of the far UART's transmitter, and of the bytes on the way to it.
type transmitter uint8

const (
	sending transmitter = iota // it has bytes, or bytes wait here or are lent
	empty
	absent // there is no session, and nothing waits for bytes to leave
)

const (
	// absentLimit takes the place of ordered.Limit while the transmitter is absent: how many bytes may wait before transfers
	// are held. It is larger, so that the last bytes of a program that drains or closes leave the driver, and smaller than
	// upMost by more than a driver can have under way.
	absentLimit = 2 * ordered.Limit
	// absentPause is how often the transmitter is checked while transfers are held.
	absentPause = 20 * time.Millisecond
)

// transmitter asks config.Unsent. It is called without the lock, and before it is taken.
func (c *Chip) transmitter() transmitter {
	here := c.hasBytes() // first: Unsent counts the bytes that Next has got back by then
	left := time.Duration(0)
	if c.config.Unsent != nil {
		left = c.config.Unsent().Left
	}
	switch {
	case left < 0:
		return absent
	case left > 0 || here:
		return sending
	}
	return empty
}

// hasBytes reports whether bytes wait here or are lent. The lock is not held.
func (c *Chip) hasBytes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lent || c.up.Len() > 0
}

// lineStatus returns the second status byte. The lock is held.
func (c *Chip) lineStatus(far transmitter) byte {
	switch {
	case c.quiet != nil, far == absent, far == empty && !c.lent && c.up.Len() == 0:
		return statusEmpty
	}
	return 0
}

// release answers held OUT transfers as long as no more than limit bytes wait, and reports whether it has answered any. The
// lock is held.
func (c *Chip) release(limit int) (some bool) {
	for len(c.heldOut) > 0 && c.up.Len() <= limit {
		c.heldOut[0].Answer(nil)
		c.heldOut = c.heldOut[1:]
		some = true
	}
	if len(c.heldOut) == 0 {
		c.heldOut = nil
	} else if c.releaseTimer == nil && !c.closed && c.config.Unsent != nil {
		c.releaseTimer = time.AfterFunc(absentPause, c.releaseAbsent)
	}
	return some
}

// releaseAbsent releases held transfers if the transmitter is absent. releaseTimer calls it.
func (c *Chip) releaseAbsent() {
	far := c.transmitter()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.releaseTimer = nil
	limit := ordered.Limit
	if far == absent {
		limit = absentLimit
	}
	if c.release(limit) && c.stream != nil {
		c.stream.FlushSoon()
	}
}

// stopReleasing stops releaseTimer. The lock is held.
func (c *Chip) stopReleasing() {
	if c.releaseTimer != nil {
		c.releaseTimer.Stop()
		c.releaseTimer = nil
	}
}
