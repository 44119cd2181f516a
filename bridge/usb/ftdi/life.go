package ftdi

import (
	"slices"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// state says whether an application has the port open. The driver does not say so; it shows.
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
// ftdi_open begins with RESET_SIO. A close takes the IN transfers back, behind ftdi_dtr_rts where HUPCL is set. Closing is
// for a driver that has none to take back, because the application does not read: it may have had one a moment ago. The
// close of such a port without HUPCL is not seen; the next open shows it.
type state uint8

const (
	stateClosed state = iota
	stateOpen
	stateClosing
)

// settleTime is how long what the driver does may mean two things. It does the next thing at once.
const settleTime = 100 * time.Millisecond

func (c *Chip) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == stateClosed
}

// reset performs RESET_SIO: an open. A port that is open was closed unseen.
func (c *Chip) reset(t *usbip.Transfer) {
	c.life.Lock()
	defer c.life.Unlock()
	c.closePort()
	c.openPort(t)
}

// openPort makes the port open. t is the request that the application's open waits for, nil: it does not wait. life is
// held.
func (c *Chip) openPort(t *usbip.Transfer) {
	e := uart.Event{Kind: uart.KindOpened, Ready: func(error) {}}
	c.mu.Lock()
	c.state = stateOpen
	c.unsettle()
	switch {
	case t == nil:
	case c.config.OpenWait <= 0 || c.closed || c.quiet != nil:
		t.Answer(nil)
	default:
		c.opening = t
		c.openBy = time.AfterFunc(c.config.OpenWait, func() { c.ready(t) })
		// The driver takes no answer for a failed open: it goes on all the same.
		e.Ready = func(error) { c.ready(t) }
	}
	swallowed := c.tell(e)
	c.mu.Unlock()
	if swallowed != nil {
		swallowed(nil) // nobody else will
	}
}

// ready lets an open go on, if it still waits.
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

// stopOpening forgets the open that waits; the lock is held.
func (c *Chip) stopOpening() {
	if c.openBy != nil {
		c.openBy.Stop()
	}
	c.opening, c.openBy = nil, nil
}

// closePort makes the port closed, where it is not: who waits in Write returns, what was not read is gone. life is held.
func (c *Chip) closePort() {
	c.mu.Lock()
	c.performAll(true) // a driver that closes, or opens, waits for none of them any more
	if c.state == stateClosed || c.closed {
		c.mu.Unlock()
		return
	}
	c.state = stateClosed
	c.period++
	c.unsettle()
	c.stopOpening()
	c.down.clear()
	c.error = 0
	c.downRoom.Broadcast()
	if c.quiet != nil {
		c.closedInQuiet()
		c.mu.Unlock()
		return
	}
	merged := uint64(0)
	if crowded := c.up.Crowded(); !crowded || !c.saidMerged { // else a script that opens and closes would fill the log
		merged = c.up.Merged()
		c.saidMerged, c.saidMoved = crowded, c.saidMoved && crowded
	}
	c.mu.Unlock()

	if merged > 0 {
		c.log.Warn("control lines or opens went by too fast: only the last of them was sent", "lost", merged)
	}
	e := uart.Event{Kind: uart.KindClosed}
	c.urgent(e)
	c.push(e)
}

// unlinked is told of every transfer that the driver takes back. That of an IN transfer is a close, even where it was
// answered just before: a driver that stays takes none back.
func (c *Chip) unlinked(t *usbip.Transfer, pending bool) {
	if t.Endpoint == 0 {
		c.forget(t) // an open that waits no longer: the answer, when it comes, goes nowhere
		return
	}
	if !t.In {
		c.mu.Lock()
		c.held = slices.DeleteFunc(c.held, func(h *usbip.Transfer) bool { return h == t })
		c.mu.Unlock()
		return // its bytes are taken all the same: the driver cannot know that they were not sent
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

// uncertain waits for settle; the lock is held.
func (c *Chip) uncertain() {
	if c.settled == nil && !c.closed {
		c.settled = time.AfterFunc(settleTime, c.settle)
	}
}

// unsettle: nothing is uncertain any more; the lock is held.
func (c *Chip) unsettle() {
	if c.settled != nil {
		c.settled.Stop()
		c.settled = nil
	}
}

// settle decides what the driver meant: it has had the time to go on.
func (c *Chip) settle() {
	far := c.transmitter()
	c.life.Lock()
	defer c.life.Unlock()
	c.mu.Lock()
	if c.settled == nil {
		c.mu.Unlock()
		return // decided otherwise meanwhile
	}
	c.settled = nil
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
