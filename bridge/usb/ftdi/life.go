package ftdi

import (
	"slices"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// state is whether an application has the port open. No request says so; it is inferred from what the driver does.
//
//	          RESET_SIO, or bytes, or IN transfers that stay
//	closed  ------------------------------------------------>  open
//	  ^  ^                                                     |  ^
//	  |  '----- an IN transfer is taken back, unplugged -------'  |
//	  |                                                        |  |
//	  |               flow control off, then both lines down   |  |
//	  '--- settleTime without IN transfers ---  closing  <-----'  |
//	                                               '-- else ------'
//
// ftdi_open begins with RESET_SIO. A close takes the IN transfers back, after ftdi_dtr_rts if HUPCL is set. stateClosing is for
// a driver that has none to take back, because the application does not read: it may have had one a moment ago. Without HUPCL
// the close of such a port is not visible; the next open shows it.
type state uint8

const (
	stateClosed state = iota
	stateOpen
	stateClosing
)

// settleTime is how long to wait for the driver's next action if the last one is ambiguous. A driver does it at once.
const settleTime = 100 * time.Millisecond

func (c *Chip) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == stateClosed
}

// reset performs RESET_SIO: an open. If the port is open, its close was not visible.
func (c *Chip) reset(t *usbip.Transfer) {
	c.life.Lock()
	defer c.life.Unlock()
	c.closePort()
	c.openPort(t)
}

// openPort makes the port open. t is the request for whose answer the application's open waits; nil: it does not wait. life is
// held.
func (c *Chip) openPort(t *usbip.Transfer) {
	e := uart.Event{Kind: uart.KindOpened, Ready: func(error) {}}
	c.mu.Lock()
	c.state = stateOpen
	c.stopSettling()
	switch {
	case t == nil:
	case c.config.OpenWait <= 0 || c.closed || c.quiet != nil:
		t.Answer(nil)
	default:
		c.opening = t
		c.openTimer = time.AfterFunc(c.config.OpenWait, func() { c.ready(t) })
		// The driver goes on whatever the answer is, so an open cannot fail.
		e.Ready = func(error) { c.ready(t) }
	}
	swallowed := c.addLocked(e)
	c.mu.Unlock()
	if swallowed != nil {
		swallowed(nil) // nothing else calls it
	}
}

// ready lets an open continue if it still waits.
func (c *Chip) ready(t *usbip.Transfer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opening != t {
		return
	}
	c.stopOpening()
	if t.Answer(nil) {
		t.Stream().FlushSoon()
	}
}

// stopOpening forgets the waiting open. The lock is held.
func (c *Chip) stopOpening() {
	if c.openTimer != nil {
		c.openTimer.Stop()
	}
	c.opening, c.openTimer = nil, nil
}

// closePort makes the port closed unless it is: a blocked Write returns, and unread bytes are dropped. life is held.
func (c *Chip) closePort() {
	c.mu.Lock()
	c.performAll(true) // a driver that closes or opens waits for none of them any more
	if c.state == stateClosed || c.closed {
		c.mu.Unlock()
		return
	}
	c.state = stateClosed
	c.epoch++
	c.stopSettling()
	c.stopOpening()
	c.down.clear()
	c.nextError = 0
	c.downRoom.Broadcast()
	if c.quiet != nil {
		c.closedInQuiet()
		c.mu.Unlock()
		return
	}
	merged := uint64(0)
	if crowded := c.up.Crowded(); !crowded || !c.loggedMerged { // else a script that opens and closes would fill the log
		merged = c.up.Merged()
		c.loggedMerged, c.loggedMoved = crowded, c.loggedMoved && crowded
	}
	c.mu.Unlock()

	if merged > 0 {
		c.log.Warn("control lines or opens went by too fast: only the last of them was sent", "lost", merged)
	}
	e := uart.Event{Kind: uart.KindClosed}
	c.urgent(e)
	c.add(e)
}

// unlinked is called for every transfer that the driver takes back. An IN transfer taken back is a close, even if it was
// answered just before: a driver that keeps the port open takes none back.
func (c *Chip) unlinked(t *usbip.Transfer, pending bool) {
	if t.Endpoint == 0 {
		c.forgetChange(t) // or it was an open that does not wait any longer: its answer will be dropped
		return
	}
	if !t.In {
		c.mu.Lock()
		c.heldOut = slices.DeleteFunc(c.heldOut, func(h *usbip.Transfer) bool { return h == t })
		c.mu.Unlock()
		return // its bytes are sent all the same: the driver cannot assume that they were not
	}
	c.life.Lock()
	defer c.life.Unlock()
	if pending {
		c.mu.Lock()
		c.in = slices.DeleteFunc(c.in, func(h *usbip.Transfer) bool { return h == t })
		c.mu.Unlock()
	}
	c.closePort()
}

// startSettling starts settleTimer. The lock is held.
func (c *Chip) startSettling() {
	if c.settleTimer == nil && !c.closed {
		c.settleTimer = time.AfterFunc(settleTime, c.settle)
	}
}

// stopSettling stops settleTimer: the state is certain. The lock is held.
func (c *Chip) stopSettling() {
	if c.settleTimer != nil {
		c.settleTimer.Stop()
		c.settleTimer = nil
	}
}

// settle decides what the driver's last action meant: it has had time for the next one.
func (c *Chip) settle() {
	far := c.transmitter()
	c.life.Lock()
	defer c.life.Unlock()
	c.mu.Lock()
	if c.settleTimer == nil {
		c.mu.Unlock()
		return // it has been decided meanwhile
	}
	c.settleTimer = nil
	closes := c.state == stateClosing && len(c.in) == 0
	if c.state == stateClosing && !closes {
		c.state = stateOpen
	}
	opens := c.state == stateClosed && len(c.in) > 0
	c.mu.Unlock()
	switch {
	case closes:
		c.closePort()
	case opens:
		c.openPort(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answerIn(far)
		if c.stream != nil {
			c.stream.FlushSoon()
		}
	}
}
