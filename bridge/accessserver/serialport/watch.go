package serialport

import (
	"time"

	"telnetcpc/bridge/uart"
)

// emptied is what the line reports when the last bit has left.
const emptied = uart.LineTEMT | uart.LineTHRE

// tick is how soon at most the transmitter is looked at again while it sends.
const tick = time.Millisecond

// watch looks at what no read tells: the modem lines, overruns, the empty transmitter. newDevice starts it, Close
// ends it. A port that is lost tells nothing here: Next says it.
func (d *device) watch() {
	defer close(d.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var looked time.Time
	for {
		select {
		case <-timer.C:
		case <-d.wrote:
		case <-d.done:
			return
		}
		now := time.Now()
		moved := d.lookAtCounts()
		if moved || now.Sub(looked) >= stare {
			looked = now
			d.lookAtLines()
		}
		timer.Stop()
		timer.Reset(d.lookAtTransmitter(now))
	}
}

// lookAtCounts reports whether a line has moved, and tells of overruns, which are not in the data.
func (d *device) lookAtCounts() (moved bool) {
	c, ok := d.tty.counts()
	if !ok {
		return false
	}
	d.mu.Lock()
	before := d.counted
	d.counted.overrun, d.counted.bufOverrun = c.overrun, c.bufOverrun
	d.mu.Unlock()
	if c.overrun != before.overrun || c.bufOverrun != before.bufOverrun {
		d.tell(lineEvent(uart.LineOverrun))
	}
	return c.cts != before.cts || c.dsr != before.dsr || c.ri != before.ri || c.dcd != before.dcd
}

// lookAtLines tells of changes. A line that has moved and stands as before has pulsed: both edges are told.
func (d *device) lookAtLines() {
	m, c, ok := d.steady()
	if !ok {
		return
	}
	d.mu.Lock()
	before := d.lines
	pulsed := moves(d.counted, c) &^ (m ^ before)
	d.counted.cts, d.counted.dsr, d.counted.ri, d.counted.dcd = c.cts, c.dsr, c.ri, c.dcd
	d.lines = m
	d.mu.Unlock()
	if pulsed != 0 {
		d.tell(uart.Event{Kind: uart.KindModem, Modem: m ^ pulsed})
	}
	if pulsed != 0 || m != before {
		d.tell(uart.Event{Kind: uart.KindModem, Modem: m})
	}
}

// steady returns the lines, and counts that belong to them: nothing has moved between the two, as far as a few tries can
// tell. Some drivers count only when they are asked for the lines.
func (d *device) steady() (m uart.ModemState, c counts, ok bool) {
	c, counted := d.tty.counts()
	for range 4 {
		if m, ok = d.tty.modem(); !ok || !counted {
			return m, c, ok
		}
		after, _ := d.tty.counts()
		if moves(c, after) == 0 {
			break
		}
		c = after
	}
	return m, c, true
}

// moves are the lines that have moved between two looks at the counters.
func moves(a, b counts) (m uart.ModemState) {
	for _, line := range []struct {
		moved bool
		line  uart.ModemState
	}{{a.cts != b.cts, uart.CTS}, {a.dsr != b.dsr, uart.DSR}, {a.ri != b.ri, uart.RI}, {a.dcd != b.dcd, uart.DCD}} {
		if line.moved {
			m |= line.line
		}
	}
	return m
}

// lookAtTransmitter tells when it has become empty, and returns when to look again.
func (d *device) lookAtTransmitter(now time.Time) time.Duration {
	d.mu.Lock()
	left := time.Duration(0)
	if d.sending {
		left = d.unsent(now)
	}
	isEmpty := d.sending && left == 0
	if isEmpty {
		d.sending = false
	}
	d.mu.Unlock()
	if isEmpty {
		d.tell(lineEvent(emptied))
	}
	if left == 0 {
		return glance
	}
	return min(max(left, tick), glance)
}

// tell gives an event to Next. Where Next does not come, what is known stays bounded: the last of a kind takes in what
// follows.
func (d *device) tell(e uart.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) >= uart.DeviceEvents {
		for i := len(d.pending) - 1; i >= 0; i-- {
			if last := &d.pending[i]; last.Kind == e.Kind {
				last.Modem = e.Modem
				last.Line |= e.Line
				return
			}
		}
	}
	d.pending = append(d.pending, e)
	d.tty.wake()
}
