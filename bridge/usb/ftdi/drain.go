package ftdi

import (
	"time"

	"telnetcpc/bridge/ordered"
)

// What the driver asks before it says that a drain is over, or goes on with a close: whether the transmitter is empty, again
// and again. Before that it waits until it has no bytes itself, and so for the answers to its OUT transfers.

// transmitter is what is known of the far UART's transmitter, and of the bytes on the way to it.
type transmitter uint8

const (
	sending transmitter = iota // or bytes wait here, or are lent
	empty
	absent // there is none, and no byte is waited for
)

const (
	// absentLimit is how many bytes may wait before transfers are held while no byte is waited for. It is above
	// ordered.Limit, so that the last bytes of who drains or closes leave the driver, and below upMost by more than a
	// driver can have under way.
	absentLimit = 2 * ordered.Limit
	// absentPause is how often the transmitter is asked for while transfers are held.
	absentPause = 20 * time.Millisecond
)

// transmitter asks the configuration. It is called without the lock, before it is taken.
func (c *Chip) transmitter() transmitter {
	here := c.hasBytes() // first: those that have come back until now are in what Unsent says
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

// hasBytes reports whether bytes wait here or are lent; the lock is not held.
func (c *Chip) hasBytes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lent || c.up.Len() > 0
}

// lineStatus is the second status byte; the lock is held.
func (c *Chip) lineStatus(far transmitter) byte {
	switch {
	case c.quiet != nil, far == absent, far == empty && !c.lent && c.up.Len() == 0:
		return statusEmpty
	}
	return 0
}

// release answers the OUT transfers that are held, as long as no more than limit bytes wait. It reports whether there were
// any; the lock is held.
func (c *Chip) release(limit int) (some bool) {
	for len(c.held) > 0 && c.up.Len() <= limit {
		c.held[0].Answer(nil)
		c.held = c.held[1:]
		some = true
	}
	if len(c.held) == 0 {
		c.held = nil
	} else if c.releasing == nil && !c.closed && c.config.Unsent != nil {
		c.releasing = time.AfterFunc(absentPause, c.releaseAbsent)
	}
	return some
}

// releaseAbsent releases what is held where no byte is waited for.
func (c *Chip) releaseAbsent() {
	far := c.transmitter()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.releasing = nil
	limit := ordered.Limit
	if far == absent {
		limit = absentLimit
	}
	if c.release(limit) && c.stream != nil {
		c.stream.FlushSoon()
	}
}

// stopReleasing ends the waiting of what is held; the lock is held.
func (c *Chip) stopReleasing() {
	if c.releasing != nil {
		c.releasing.Stop()
		c.releasing = nil
	}
}
