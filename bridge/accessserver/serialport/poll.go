package serialport

import (
	"time"

	"telnetcpc/bridge/uart"
)

// The modem lines are polled on every system. Linux could report changes (TIOCMIWAIT), but nothing wakes a thread that
// waits there, and it keeps the device open: Close would have to wait for the next edge, with DTR still raised and the
// name of an unplugged adapter still in use. Polling misses no edge if the driver counts them.

const (
	// countersEvery is how often the driver's counters are read: a system call that does not reach the device.
	countersEvery = 5 * time.Millisecond
	// linesEvery is how often the modem lines themselves are read: for a USB adapter that is a request over the bus.
	linesEvery = 20 * time.Millisecond
	// transmitterEvery is the shortest time between two checks of a busy transmitter.
	transmitterEvery = time.Millisecond
)

// transmitterEmpty is the line state that a device reports when the last bit has left.
const transmitterEmpty = uart.LineTEMT | uart.LineTHRE

// counters is what poll remembers of the driver's counters.
type counters struct {
	reported counts // what was already reported as events
}

// poll checks what no read returns: the modem lines, overruns and the transmitter. newDevice starts it, Close ends it. If
// the port is lost it reports nothing: Next returns that error.
func (d *device) poll() {
	defer close(d.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var linesRead time.Time
	for {
		select {
		case <-timer.C:
		case <-d.check:
		case <-d.done:
			return
		}
		now := time.Now()
		moved := d.pollCounters()
		if moved || now.Sub(linesRead) >= linesEvery {
			linesRead = now
			d.pollLines()
		}
		timer.Stop()
		timer.Reset(d.pollTransmitter(now))
	}
}

// pollCounters reports overruns, which are not in the data, and returns whether a modem line has moved.
func (d *device) pollCounters() (moved bool) {
	c, ok := d.tty.counts()
	if !ok {
		return false
	}
	before := d.counters.reported
	d.counters.reported.overrun, d.counters.reported.bufOverrun = c.overrun, c.bufOverrun
	if c.overrun != before.overrun || c.bufOverrun != before.bufOverrun {
		d.post(lineEvent(uart.LineOverrun))
	}
	return linesMoved(before, c) != 0
}

// pollLines reports changes. A line that has moved but has its old level has pulsed: both edges are reported.
func (d *device) pollLines() {
	m, c, ok := d.readLines()
	if !ok {
		return
	}
	d.mu.Lock()
	before := d.lines
	d.lines = m
	d.mu.Unlock()
	reported := &d.counters.reported
	pulsed := linesMoved(*reported, c) &^ (m ^ before)
	reported.cts, reported.dsr, reported.ri, reported.dcd = c.cts, c.dsr, c.ri, c.dcd
	if pulsed != 0 {
		d.post(uart.Event{Kind: uart.KindModem, Modem: m ^ pulsed})
	}
	if pulsed != 0 || m != before {
		d.post(uart.Event{Kind: uart.KindModem, Modem: m})
	}
}

// readLines returns the modem lines, and counters that belong to them: it tries a few times to read both without an edge in
// between. (Some drivers count only when they are asked for the lines.)
func (d *device) readLines() (m uart.ModemState, c counts, ok bool) {
	c, counted := d.tty.counts()
	for range 4 {
		if m, ok = d.tty.modem(); !ok || !counted {
			return m, c, ok
		}
		after, _ := d.tty.counts()
		if linesMoved(c, after) == 0 {
			break
		}
		c = after
	}
	return m, c, true
}

// linesMoved returns the modem lines that have moved between two readings of the counters.
func linesMoved(a, b counts) (m uart.ModemState) {
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

// pollTransmitter reports that the transmitter has become empty, and returns when to check again.
func (d *device) pollTransmitter(now time.Time) time.Duration {
	d.mu.Lock()
	left := time.Duration(0)
	if d.sending {
		left = d.unsent(now)
	}
	becameEmpty := d.sending && left == 0
	if becameEmpty {
		d.sending = false
	}
	d.mu.Unlock()
	if becameEmpty {
		d.post(lineEvent(transmitterEmpty))
	}
	if left == 0 {
		return countersEvery
	}
	return min(max(left, transmitterEvery), countersEvery)
}

// post queues an event for Next. If too many wait, it is merged into the last one of its kind, so the queue stays
// bounded.
func (d *device) post(e uart.Event) {
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
