package ftdi

import (
	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// control performs a vendor request. A request that changes a setting is answered after its event was queued, behind
// the bytes that came before it.
func (c *Chip) control(t *usbip.Transfer) {
	s := t.Setup
	known := false
	switch s.Type {
	case typeOut:
		known = c.set(t)
		c.driver.remember(s)
	case typeIn:
		known = c.get(t)
	}
	if !known {
		t.Stall()
	}
}

// set performs an OUT request and answers it. false: the request is unknown, or no UART has the setting.
func (c *Chip) set(t *usbip.Transfer) bool {
	s := t.Setup
	switch s.Request {
	case reqReset:
		if s.Value == resetSIO {
			c.reset(t) // answers, possibly later
			return true
		}
		if !c.purge(s.Value) {
			return false
		}
	case reqModemCtrl:
		return c.modemCtrl(t)
	case reqFlowCtrl:
		flow, ok := flowOf(s.Index)
		if !ok {
			return false
		}
		c.applySettings(c.driver.coding, flow)
	case reqBaudRate:
		baud := decode(c.driver.divisor(s))
		if baud == 0 {
			return false
		}
		coding := c.driver.coding
		coding.Baud = baud
		c.applySettings(coding, c.driver.flow)
	case reqData:
		coding, ok := codingOf(s.Value, c.driver.coding.Baud)
		if !ok {
			return false
		}
		c.applySettings(coding, c.driver.flow)
		return c.sendBreak(t, s.Value&dataBreak != 0)
	case reqLatencyTimer:
		c.driver.latency = uint8(s.Value)
	case reqEventChar, reqErrorChar:
		// Characters that make a chip send its packet early; this one sends every packet at once.
	default:
		return false
	}
	t.Answer(nil)
	return true
}

// get performs an IN request and answers it. false: the request is unknown.
func (c *Chip) get(t *usbip.Transfer) bool {
	switch t.Setup.Request {
	case reqModemStatus:
		// Linux polls it to learn whether the transmitter is empty, for tcdrain.
		far := c.transmitter()
		c.mu.Lock()
		defer c.mu.Unlock()
		t.Answer([]byte{byte(c.modem) | statusReserved, c.lineStatus(far)})
	case reqGetLatency:
		t.Answer([]byte{c.driver.latency})
	default:
		return false
	}
	return true
}

// driver is what the driver has set. It needs no lock: only the stream's calls, one at a time, use it.
type driver struct {
	coding uart.Coding
	flow   uart.Flow
	// The last ones that were queued for Next. They differ from the above during a quiet period.
	queuedCoding uart.Coding
	queuedFlow   uart.Flow
	breaking     bool           // the state of break as last queued
	latency      uint8          // milliseconds; nothing here depends on it
	channel      uint16         // the port's number in wIndex: 0 or 1, depending on the driver
	last         [2]usbip.Setup // the last two requests, the latest first
}

// remember keeps the last two requests, and the port's number. SET_BAUD_RATE has bits of the divisor in place of the
// number.
func (d *driver) remember(s usbip.Setup) {
	d.last = [2]usbip.Setup{s, d.last[0]}
	if s.Request != reqBaudRate {
		d.channel = s.Index & 0xff
	}
}

// divisor returns the divisor of SET_BAUD_RATE, bits 0 to 17. The upper two are in wIndex, above the port's number if that is
// not 0.
func (d *driver) divisor(s usbip.Setup) uint32 {
	high := s.Index
	if d.channel != 0 {
		high >>= 8
	}
	return uint32(high)<<16 | uint32(s.Value)
}

// modemCtrl performs MODEM_CTRL. Both lines off directly after flow control off is what ftdi_dtr_rts does at a close. B0 does
// that too, but with SET_DATA before it.
func (c *Chip) modemCtrl(t *usbip.Transfer) bool {
	s := t.Setup
	control := controlOf(s.Value)
	if control == (uart.Control{}) {
		t.Answer(nil)
		return true
	}
	before, first := c.driver.last[0], c.driver.last[1]
	closing := s.Value == ctrlAllDown && before.Request == reqFlowCtrl && before.Index>>8 == flowNone && first.Request != reqData
	c.perform(t, uart.Event{Kind: uart.KindSettings, Control: control}, closing)
	return true
}

// applySettings changes line coding or flow control. The driver sends all settings whenever one changes, so only a
// difference makes an event.
func (c *Chip) applySettings(coding uart.Coding, flow uart.Flow) {
	c.driver.coding, c.driver.flow = coding, flow
	if coding == c.driver.queuedCoding && flow == c.driver.queuedFlow || c.isQuiet() {
		return
	}
	c.driver.queuedCoding, c.driver.queuedFlow = coding, flow
	c.add(uart.Event{Kind: uart.KindSettings, Coding: coding, Flow: flow})
}

// sendBreak performs the break bit of SET_DATA, which is in every change of the line coding too.
func (c *Chip) sendBreak(t *usbip.Transfer, on bool) bool {
	if on == c.driver.breaking || c.isQuiet() {
		t.Answer(nil)
		return true
	}
	c.driver.breaking = on
	c.perform(t, uart.Event{Kind: uart.KindSettings, Control: uart.Control{Break: uart.LevelOf(on)}}, false)
	return true
}

// purge performs RESET_PURGE_RX and RESET_PURGE_TX: it drops the bytes that are queued here, and reports the purge at
// once (Urgent) and in order (Next).
func (c *Chip) purge(value uint16) bool {
	e := uart.Event{Kind: uart.KindPurge}
	switch value {
	case resetPurgeRx:
		e.Purge = uart.PurgeRx
	case resetPurgeTx:
		e.Purge = uart.PurgeTx
	default:
		return false
	}
	if c.isQuiet() {
		return true
	}
	c.urgent(e)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Purge == uart.PurgeRx {
		c.down.clear()
		c.nextError = 0
		c.downRoom.Signal()
	} else {
		c.up.Drop()
		c.release(ordered.Limit)
	}
	c.addLocked(e)
	return true
}
