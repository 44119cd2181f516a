package ftdi

import (
	"slices"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// state is whether an application has the port open. No request reports that; it is inferred from what the driver does.
//
// RESET_SIO, or bytes, or IN transfers that stay pending
//
//	closed  ------------------------------------------------>  open
//	  ^  ^                                                     |  ^
//
// | '----- an IN transfer is unlinked, or unplugged ------' |
//
//	|                                                        |  |
//	|               flow control off, then both lines down   |  |
//	'--- settleTime without IN transfers ---  closing  <-----'  |
//	                                             '-- else ------'
//
// ftdi_open begins with RESET_SIO. A close unlinks the IN transfers, after ftdi_dtr_rts if HUPCL is set. stateClosing
// is for a driver that has none to unlink, because the application does not read. Without HUPCL the close of such a
// port is not visible; the next open shows it.
type state uint8

const (
	stateClosed state = iota
	stateOpen
	stateClosing
)

// settleTime is how long to wait for the driver's next action if the last one is ambiguous. A driver does not pause
// between the two.
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

// openPort marks the port open and queues the event. t is the request for whose answer the application's open waits;
// nil: it does not wait. life is held.
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
	mergedReady := c.addLocked(e)
	c.mu.Unlock()
	if mergedReady != nil {
		mergedReady(nil) // nothing else calls it
	}
}

// ready answers the request of an open that still waits, so that the open continues.
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

// stopOpening forgets the waiting open and stops its timer. The caller holds mu.
func (c *Chip) stopOpening() {
	if c.openTimer != nil {
		c.openTimer.Stop()
	}
	c.opening, c.openTimer = nil, nil
}

// closePort marks the port closed, if it is open, and queues the event: a blocked Write returns, and unread bytes are
// dropped. The caller holds life.
func (c *Chip) closePort() {
	c.mu.Lock()
	c.performAll(true) // a driver that closes or opens the port no longer waits for them
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

// unlinked is called for every transfer that the driver unlinks. An unlinked IN transfer means a close, even if it was
// answered just before: a driver that keeps the port open unlinks none.
func (c *Chip) unlinked(t *usbip.Transfer, pending bool) {
	if t.Endpoint == 0 {
		c.forgetChange(t) // or it was an open that no longer waits: its answer will be dropped
		return
	}
	if !t.In {
		c.mu.Lock()
		c.heldOut = slices.DeleteFunc(c.heldOut, func(h *usbip.Transfer) bool { return h == t })
		c.mu.Unlock()
		return // its bytes stay queued: the driver cannot assume that they were not sent
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

// startSettling starts settleTimer. The caller holds mu.
func (c *Chip) startSettling() {
	if c.settleTimer == nil && !c.closed {
		c.settleTimer = time.AfterFunc(settleTime, c.settle)
	}
}

// stopSettling stops settleTimer: the state is certain. The caller holds mu.
func (c *Chip) stopSettling() {
	if c.settleTimer != nil {
		c.settleTimer.Stop()
		c.settleTimer = nil
	}
}

// settle decides what the driver's last action meant, once it has had time for the next one. settleTimer calls it.
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
