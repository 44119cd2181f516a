package ftdi

import (
	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// control performs a vendor request. What changes a setting is answered when its event is in the queue, and the bytes
// that came before it are before it there.
func (c *Chip) control(t *usbip.Transfer) {
	s := t.Setup
	known := false
	switch s.Type {
	case typeOut:
		known = c.change(t)
		c.said.remember(s)
	case typeIn:
		known = c.ask(t)
	}
	if !known {
		t.Stall()
	}
}

// change performs a request that says something, and answers it. false: it is unknown, or no UART can do it.
func (c *Chip) change(t *usbip.Transfer) bool {
	s := t.Setup
	switch s.Request {
	case reqReset:
		if s.Value == resetSIO {
			c.reset(t) // answers, at its time
			return true
		}
		if !c.purge(s.Value) {
			return false
		}
	case reqModemCtrl:
		return c.lines(t)
	case reqFlowCtrl:
		flow, ok := flowOf(s.Index)
		if !ok {
			return false
		}
		c.settings(c.said.coding, flow)
	case reqBaudRate:
		baud := decode(c.said.divisor(s))
		if baud == 0 {
			return false
		}
		coding := c.said.coding
		coding.Baud = baud
		c.settings(coding, c.said.flow)
	case reqData:
		coding, ok := codingOf(s.Value, c.said.coding.Baud)
		if !ok {
			return false
		}
		c.settings(coding, c.said.flow)
		return c.sendBreak(t, s.Value&dataBreak != 0)
	case reqLatencyTimer:
		c.said.latency = uint8(s.Value)
	case reqEventChar, reqErrorChar:
		// They tell the chip when to send a packet early; every packet leaves at once.
	default:
		return false
	}
	t.Answer(nil)
	return true
}

// ask performs a request that asks something.
func (c *Chip) ask(t *usbip.Transfer) bool {
	switch t.Setup.Request {
	case reqModemStatus:
		// The driver asks by this whether the transmitter is empty, for tcdrain.
		far := c.transmitter()
		c.mu.Lock()
		defer c.mu.Unlock()
		t.Answer([]byte{byte(c.modem) | statusReserved, c.lineStatus(far)})
	case reqGetLatency:
		t.Answer([]byte{c.said.latency})
	default:
		return false
	}
	return true
}

// said is what the driver has said so far. It has no lock: the stream's calls alone use it.
type said struct {
	coding uart.Coding
	flow   uart.Flow
	// What of it Next has told or will: a quiet time lies between.
	toldCoding uart.Coding
	toldFlow   uart.Flow
	sending    bool   // a break, as told
	latency    uint8  // milliseconds; nothing waits for it
	channel    uint16 // what the driver calls this port in wIndex: 0 or 1
	last       [2]usbip.Setup
}

// remember keeps the last two requests, the latest first, and how the driver calls the port. SET_BAUD_RATE does not
// tell: it has bits of the divisor in the same place.
func (d *said) remember(s usbip.Setup) {
	d.last = [2]usbip.Setup{s, d.last[0]}
	if s.Request != reqBaudRate {
		d.channel = s.Index & 0xff
	}
}

// divisor is the value of SET_BAUD_RATE, bits 0 to 17. The upper two are in wIndex, above the port's name where it has
// one.
func (d *said) divisor(s usbip.Setup) uint32 {
	high := s.Index
	if d.channel != 0 {
		high >>= 8
	}
	return uint32(high)<<16 | uint32(s.Value)
}

// lines performs MODEM_CTRL. Both lines down right behind flow control off is what ftdi_dtr_rts does at a close; so does
// B0, but with SET_DATA before it.
func (c *Chip) lines(t *usbip.Transfer) bool {
	s := t.Setup
	control := controlOf(s.Value)
	if control == (uart.Control{}) {
		t.Answer(nil)
		return true
	}
	before, first := c.said.last[0], c.said.last[1]
	closing := s.Value == ctrlAllDown && before.Request == reqFlowCtrl && before.Index>>8 == flowNone && first.Request != reqData
	c.perform(t, uart.Event{Kind: uart.KindSettings, Control: control}, closing)
	return true
}

// settings performs what changes line coding or flow control. The driver says all of them whenever one changes: what
// stays as it is makes no event.
func (c *Chip) settings(coding uart.Coding, flow uart.Flow) {
	c.said.coding, c.said.flow = coding, flow
	if coding == c.said.toldCoding && flow == c.said.toldFlow || c.isQuiet() {
		return
	}
	c.said.toldCoding, c.said.toldFlow = coding, flow
	c.push(uart.Event{Kind: uart.KindSettings, Coding: coding, Flow: flow})
}

// sendBreak performs the break bit of SET_DATA, which comes with every change of the data bits too.
func (c *Chip) sendBreak(t *usbip.Transfer, on bool) bool {
	if on == c.said.sending || c.isQuiet() {
		t.Answer(nil)
		return true
	}
	c.said.sending = on
	c.perform(t, uart.Event{Kind: uart.KindSettings, Control: uart.Control{Break: uart.LevelOf(on)}}, false)
	return true
}

// purge performs RESET_PURGE_RX and RESET_PURGE_TX: it drops what waits here, and says so at once and in its place.
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
		c.error = 0
		c.downRoom.Signal()
	} else {
		c.up.Drop()
		c.release(ordered.Limit)
	}
	c.tell(e)
	return true
}
