package ftdi

import (
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// The way of a byte to the application: Write -> downQueue -> the driver's IN transfer, which waits here for it.

// takeIn takes an IN transfer, and answers it where there is something to say.
func (c *Chip) takeIn(t *usbip.Transfer) {
	far := c.transmitter()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = append(c.in, t)
	switch {
	case c.state == stateClosed:
		c.uncertain() // without an open?
		return
	case c.state == stateClosing && time.Since(c.fell) > settleTime/2:
		c.state = stateOpen // a driver that closes would not ask any more
		c.unsettle()
	}
	c.answerIn(far)
}

// answerIn answers IN transfers as long as there are some and there is something to say; the lock is held.
func (c *Chip) answerIn(far transmitter) {
	if c.state == stateClosed {
		return
	}
	for len(c.in) > 0 && (c.down.len() > 0 || c.modem != c.shown) {
		t := c.in[0]
		c.in = c.in[1:]
		p, n := c.down.packets(c.scratch[:0], min(t.Length, len(c.scratch)), byte(c.modem)|statusReserved, c.lineStatus(far))
		if !t.Answer(p) {
			continue // taken back: its bytes are the next one's
		}
		c.down.skip(n)
		c.shown = c.modem
	}
	if c.down.len() <= downLimit/2 {
		c.downRoom.Signal() // not for each packet: a waiting Write then has something to do
	}
}

// Write implements uart.Port: it blocks while 16 KiB wait for the driver to ask for them.
func (c *Chip) Write(p []byte) (n int, err error) {
	var period uint64
	for n < len(p) {
		m, err := c.give(p[n:], 0, &period)
		n += m
		if m == 0 {
			return n, err
		}
	}
	return n, nil
}

// give puts bytes, the first of them marked with line and what was reported before, on their way: as many as there is
// room for. n is 0 where no more is taken, because nobody has the port open any more, or by an error. See queue.
func (c *Chip) give(p []byte, line byte, period *uint64) (n int, err error) {
	n, s, err := c.queue(p, line, period)
	if s != nil {
		s.Flush()
	}
	return n, err
}

// queue is give without the writing; the stream is the one to flush. period says since which close the caller writes:
// what began before the last one is not for who opened the port then. 0: it begins now.
func (c *Chip) queue(p []byte, line byte, period *uint64) (n int, s *usbip.Stream, err error) {
	far := c.transmitter()
	c.mu.Lock()
	defer c.mu.Unlock()
	if *period == 0 {
		*period = c.period
	}
	for !c.closed && c.state != stateClosed && c.period == *period && c.down.len() >= downLimit {
		c.downRoom.Wait()
	}
	switch {
	case c.closed:
		return 0, nil, uart.ErrClosed
	case c.state == stateClosed || c.period != *period:
		return 0, nil, nil
	}
	n = min(len(p), downLimit-c.down.len())
	c.down.push(p[:n], line|c.error)
	c.error = 0
	c.answerIn(far)
	return n, c.stream, nil
}

// errorBits are what a packet can report of its bytes.
const errorBits = byte(uart.LineErrors)

// ReportLine implements uart.Port. A break is given at once, as a zero byte that is marked, which is how a UART receives
// it. Parity, framing and overrun go with the next byte written: the driver looks at them in packets with data only. It
// blocks as Write does.
func (c *Chip) ReportLine(l uart.LineState) error {
	if l&uart.LineBreak != 0 {
		var now uint64
		_, err := c.give([]byte{0}, byte(l)&errorBits, &now)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return uart.ErrClosed
	}
	if c.state != stateClosed {
		c.error |= byte(l) & errorBits
	}
	return nil
}

// SetModem implements uart.Port. A change shows in the next packet, which carries no data where none waits.
func (c *Chip) SetModem(m uart.ModemState) error {
	far := c.transmitter()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return uart.ErrClosed
	}
	c.modem = m & (uart.CTS | uart.DSR | uart.RI | uart.DCD)
	c.answerIn(far)
	if c.stream != nil {
		c.stream.FlushSoon()
	}
	return nil
}
