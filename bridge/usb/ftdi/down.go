package ftdi

import (
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// The path of a byte to the application: Write -> downQueue -> the driver's pending IN transfer.

// takeIn accepts an IN transfer, and answers it if there is something to report.
func (c *Chip) takeIn(t *usbip.Transfer) {
	far := c.transmitter()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = append(c.in, t)
	switch {
	case c.state == stateClosed:
		c.startSettling() // is it open without RESET_SIO?
		return
	case c.state == stateClosing && time.Since(c.closingSince) > settleTime/2:
		c.state = stateOpen // a driver that is closing the port submits no further ones
		c.stopSettling()
	}
	c.answerIn(far)
}

// answerIn answers IN transfers as long as there are any and there is something to report. The caller holds mu.
func (c *Chip) answerIn(far transmitter) {
	if c.state == stateClosed {
		return
	}
	for len(c.in) > 0 && (c.down.len() > 0 || c.modem != c.reported) {
		t := c.in[0]
		c.in = c.in[1:]
		p, n := c.down.packets(c.scratch[:0], min(t.Length, len(c.scratch)), byte(c.modem)|statusReserved, c.lineStatus(far))
		if !t.Answer(p) {
			continue // the driver has unlinked it: the next one gets its bytes
		}
		c.down.skip(n)
		c.reported = c.modem
	}
	if c.down.len() <= downLimit/2 {
		c.downRoom.Signal() // only when half is free, so that a woken Write can do more than a packet
	}
}

// Write implements uart.Port. It blocks while downLimit bytes wait for the driver's IN transfers.
func (c *Chip) Write(p []byte) (n int, err error) {
	var epoch uint64
	for n < len(p) {
		m, err := c.deliver(p[n:], 0, &epoch)
		n += m
		if m == 0 {
			return n, err
		}
	}
	return n, nil
}

// deliver queues as many bytes of p as there is room for and flushes the stream. The first byte is flagged with the
// errors in line and those reported before. n is 0 if the port is not open any more, or with an error. See queueDown
// for epoch.
func (c *Chip) deliver(p []byte, line byte, epoch *uint64) (n int, err error) {
	n, s, err := c.queueDown(p, line, epoch)
	if s != nil {
		s.Flush()
	}
	return n, err
}

// queueDown is deliver without flushing; s is the stream to flush. epoch is c.epoch at the beginning of the caller's write, 0
// in its first call, which sets it: bytes of a write that began before the last close are not for the program that has opened
// the port since.
func (c *Chip) queueDown(p []byte, line byte, epoch *uint64) (n int, s *usbip.Stream, err error) {
	far := c.transmitter()
	c.mu.Lock()
	defer c.mu.Unlock()
	if *epoch == 0 {
		*epoch = c.epoch
	}
	for !c.closed && c.state != stateClosed && c.epoch == *epoch && c.down.len() >= downLimit {
		c.downRoom.Wait()
	}
	switch {
	case c.closed:
		return 0, nil, uart.ErrClosed
	case c.state == stateClosed || c.epoch != *epoch:
		return 0, nil, nil
	}
	n = min(len(p), downLimit-c.down.len())
	c.down.push(p[:n], line|c.nextError)
	c.nextError = 0
	c.answerIn(far)
	return n, c.stream, nil
}

// errorBits are the errors that a packet can report for its bytes.
const errorBits = byte(uart.LineErrors)

// ReportLine implements uart.Port. A break is delivered at once as a zero byte with the break bit, which is how a UART receives
// it. Parity, framing and overrun errors go with the next byte written: the driver reads them only in packets with data. It
// blocks as Write does.
func (c *Chip) ReportLine(l uart.LineState) error {
	if l&uart.LineBreak != 0 {
		var now uint64
		_, err := c.deliver([]byte{0}, byte(l)&errorBits, &now)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return uart.ErrClosed
	}
	if c.state != stateClosed {
		c.nextError |= byte(l) & errorBits
	}
	return nil
}

// SetModem implements uart.Port. The next packet reports a change; it has no data if none is queued.
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
