package ftdi

import (
	"time"

	"telnetcpc/bridge/ordered"
)

// To complete a drain or a close, the driver first waits until its own buffers are empty, and so for the answers to its
// OUT transfers. Then it polls GET_MODEM_STATUS until the transmitter is empty.

// transmitter is what is known about the far UART's transmitter, including the bytes that have not reached it.
type transmitter uint8

const (
	sending transmitter = iota // it has bytes, or bytes wait here or are lent
	empty
	absent // there is no session, and nothing waits for bytes to leave
)

const (
	// absentLimit replaces ordered.Limit while the transmitter is absent: how many bytes may be queued before transfers
	// are held. It is larger, so that the last bytes of a program that drains or closes leave the driver, and smaller
	// than maxUp by more than a driver can have in flight.
	absentLimit = 2 * ordered.Limit
	// absentPause is how often the transmitter is checked while transfers are held.
	absentPause = 20 * time.Millisecond
)

// transmitter calls config.Unsent. The caller does not hold mu, because Unsent is the bridge's code.
func (c *Chip) transmitter() transmitter {
	here := c.hasBytes() // before Unsent, so that bytes which Next gets back in between are counted
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

// hasBytes reports whether bytes wait here or are lent. The caller does not hold mu.
func (c *Chip) hasBytes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lent || c.up.Len() > 0
}

// lineStatus returns the second status byte. The caller holds mu.
func (c *Chip) lineStatus(far transmitter) byte {
	switch {
	case c.quiet != nil, far == absent, far == empty && !c.lent && c.up.Len() == 0:
		return statusEmpty
	}
	return 0
}

// release answers held OUT transfers while at most limit bytes are queued, and reports whether it has answered any. The
// caller holds mu.
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

// stopReleasing stops releaseTimer. The caller holds mu.
func (c *Chip) stopReleasing() {
	if c.releaseTimer != nil {
		c.releaseTimer.Stop()
		c.releaseTimer = nil
	}
}
