package ftdi_test

import (
	"errors"
	"io"
	"math"
	"sync"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
	"telnetcpc/bridge/usb/usbip/usbiptest"
)

// driver emulates Linux's ftdi_sio and the usb-serial layer above it, in raw mode: it sends the same requests in the
// same order, has two transfers each way, stops submitting IN transfers while the application does not read, and does
// not announce tcflush. Tests are the application: its methods are the system calls.
type driver struct {
	host  *usbiptest.Host
	hupcl bool

	opening sync.Mutex // serialises opens and closes

	mu       sync.Mutex // guards everything below
	changed  sync.Cond
	count    int
	coding   uart.Coding
	flow     uart.Flow
	fifo     []byte // written, not in a transfer
	writing  map[*usbiptest.URB]bool
	reading  map[*usbiptest.URB]bool
	received []byte
	resting  int // IN transfers that are not submitted, because too much is unread
	status   [2]byte
	errors   uart.LineState
	packets  []int // bytes of data in each packet
	bad      []byte
}

const (
	driverTransfers = 2
	driverFifo      = 4096
	driverReceived  = 4096 // unread bytes above which the driver submits no IN transfers
	driverBulkOut   = 256
	driverBulkIn    = 512
	channel         = 1 // the port's number in Linux since 6.1
)

var errUnplugged = errors.New("no such device")

func newDriver(conn io.ReadWriteCloser) *driver {
	d := &driver{
		host: usbiptest.New(conn), hupcl: true, coding: uart.DefaultCoding(),
		flow:    uart.Flow{Out: uart.FlowNone, In: uart.FlowNone},
		writing: make(map[*usbiptest.URB]bool), reading: make(map[*usbiptest.URB]bool),
	}
	d.changed.L = &d.mu
	return d
}

// probe does what the host does when the device is found.
func (d *driver) probe() error {
	for _, s := range []usbip.Setup{
		{Type: 0x80, Request: 6, Value: 0x0100, Length: 18}, {Type: 0x80, Request: 6, Value: 0x0200, Length: 9},
		{Type: 0x80, Request: 6, Value: 0x0200, Length: 32}, {Request: 9, Value: 1},
		{Type: 0xc0, Request: 0x0a, Index: channel, Length: 1},
		{Type: 0x40, Request: 9, Value: 1, Index: channel},
	} {
		if _, status := d.host.Control(s, nil); status != 0 {
			return errors.New("probe: " + s.String())
		}
	}
	return nil
}

// request performs a vendor request. The driver ignores its failure.
func (d *driver) request(request uint8, value, index uint16) {
	_, _ = d.host.Control(usbip.Setup{Type: 0x40, Request: request, Value: value, Index: index | channel}, nil)
}

// open is an application's open.
func (d *driver) open() error {
	d.opening.Lock()
	defer d.opening.Unlock()
	if d.host.Err() != nil {
		return errUnplugged
	}
	d.mu.Lock()
	d.count++
	first := d.count == 1
	d.mu.Unlock()
	if !first {
		return nil
	}
	d.request(0, 0, 0)
	d.setTermios()
	d.mu.Lock()
	d.received, d.errors, d.resting = nil, 0, 0
	for range driverTransfers {
		d.submitRead()
	}
	d.mu.Unlock()
	d.request(1, 0x0303, 0)
	return nil
}

// setTermios sets everything, whatever has changed.
func (d *driver) setTermios() {
	d.mu.Lock()
	coding, flow := d.coding, d.flow
	d.mu.Unlock()
	d.request(4, dataValue(coding), 0)
	divisor := driverDivisor(coding.Baud)
	_, _ = d.host.Control(usbip.Setup{Type: 0x40, Request: 3, Value: uint16(divisor), Index: uint16(divisor>>16)<<8 | channel}, nil)
	switch {
	case flow.Out == uart.FlowRTSCTS:
		d.request(2, 0, 0x0100)
	case flow.Out == uart.FlowXonXoff:
		d.request(2, 0x1311, 0x0400)
	default:
		d.request(2, 0, 0)
	}
}

// dataValue returns wValue of SET_DATA.
func dataValue(c uart.Coding) uint16 {
	value := uint16(c.DataBits)
	if c.DataBits < 7 {
		value = 0
	}
	value |= uint16(c.Parity-1) << 8
	if c.StopBits == uart.Stop2 {
		value |= 2 << 11
	}
	return value
}

// driverDivisor returns the driver's divisor for a baud rate: the nearest one in eighths of 12 MHz, or of 3 MHz below 1200 baud;
// above 12 Mbaud, that of 9600.
func driverDivisor(baud uint32) uint32 {
	switch {
	case baud > 12_000_000:
		return driverDivisor(9600)
	case baud >= 1200:
		return slowDivisor(baud, 12_000_000) | 1<<17
	}
	return slowDivisor(baud, 3_000_000)
}

// slowDivisor returns the divisor for a clock, without the bit that selects the clock.
func slowDivisor(baud uint32, clock float64) uint32 {
	eighths := uint32(math.Floor(clock*8/float64(baud) + 0.5))
	divisor := eighths/8 | []uint32{0, 3 << 14, 2 << 14, 4 << 14, 1 << 14, 5 << 14, 6 << 14, 7 << 14}[eighths%8]
	switch divisor {
	case 1:
		return 0
	case 0x4001:
		return 1
	}
	return divisor
}

// submitRead submits one IN transfer. The caller holds mu.
func (d *driver) submitRead() {
	u := &usbiptest.URB{Endpoint: 1, In: true, Room: driverBulkIn}
	u.Done = d.readDone
	if d.host.Submit(u) == nil {
		d.reading[u] = true
	}
}

func (d *driver) readDone(u *usbiptest.URB) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.reading, u)
	d.changed.Broadcast()
	if u.Status != 0 || d.count == 0 {
		return
	}
	for p := u.Data; len(p) >= 2; p = p[min(len(p), 512):] {
		d.packet(p[:min(len(p), 512)])
	}
	if len(d.received) > driverReceived {
		d.resting++
		return
	}
	d.submitRead()
}

func (d *driver) packet(p []byte) {
	d.status = [2]byte{p[0], p[1]}
	d.packets = append(d.packets, len(p)-2)
	if len(p) > 2 {
		d.errors |= uart.LineState(p[1]) & uart.LineErrors
		if uart.LineState(p[1])&uart.LineErrors != 0 {
			d.bad = append(d.bad, p[2:]...)
		}
		d.received = append(d.received, p[2:]...)
	}
}

// read is an application's read.
func (d *driver) read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.received) == 0 {
		if d.host.Err() != nil || d.count == 0 {
			return 0, io.EOF
		}
		d.changed.Wait()
	}
	n := copy(p, d.received)
	d.received = d.received[n:]
	for ; d.resting > 0 && len(d.received) < driverReceived/2; d.resting-- {
		d.submitRead()
	}
	return n, nil
}

// write is an application's write.
func (d *driver) write(p []byte) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n < len(p) {
		switch {
		case d.host.Err() != nil || d.count == 0:
			return n, errUnplugged
		case len(d.fifo) == driverFifo:
			d.changed.Wait()
		default:
			m := min(len(p)-n, driverFifo-len(d.fifo))
			d.fifo = append(d.fifo, p[n:n+m]...)
			n += m
			d.submitWrites()
		}
	}
	return n, nil
}

// submitWrites moves bytes from the fifo into free transfers. The caller holds mu.
func (d *driver) submitWrites() {
	for len(d.fifo) > 0 && len(d.writing) < driverTransfers {
		n := min(len(d.fifo), driverBulkOut)
		u := &usbiptest.URB{Endpoint: 2, Data: append([]byte(nil), d.fifo[:n]...)}
		u.Done = func(u *usbiptest.URB) {
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.writing, u)
			d.changed.Broadcast()
			if u.Status == 0 {
				d.submitWrites()
			}
		}
		d.fifo = d.fifo[n:]
		if d.host.Submit(u) != nil {
			return
		}
		d.writing[u] = true
	}
}

// drain is tcdrain: it waits for the driver's own bytes, then for the chip's transmitter.
func (d *driver) drain() error {
	d.mu.Lock()
	for len(d.fifo)+len(d.writing) > 0 && d.host.Err() == nil {
		d.changed.Wait()
	}
	d.mu.Unlock()
	for {
		status, err := d.modemStatus()
		if err != nil {
			return err
		}
		if status[1]&0x40 != 0 {
			return nil
		}
		time.Sleep(time.Millisecond) // the driver polls too
	}
}

// modemStatus is the request of TIOCMGET and TIOCOUTQ.
func (d *driver) modemStatus() ([2]byte, error) {
	p, status := d.host.Control(usbip.Setup{Type: 0xc0, Request: 5, Index: channel, Length: 2}, nil)
	if status != 0 || len(p) != 2 {
		return [2]byte{}, errUnplugged
	}
	return [2]byte(p), nil
}

// closes is an application's close: the last one drains, drops the lines if HUPCL is set, and takes its transfers back.
func (d *driver) closes() {
	d.opening.Lock()
	defer d.opening.Unlock()
	d.mu.Lock()
	last := d.count == 1
	d.mu.Unlock()
	if last {
		_ = d.drain()
		if d.hupcl {
			d.request(2, 0, 0)
			d.request(1, 0x0300, 0)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count == 0 {
		return
	}
	d.count--
	d.changed.Broadcast()
	if d.count > 0 {
		return
	}
	d.fifo = nil
	d.kill(d.writing)
	d.kill(d.reading)
}

// kill takes transfers back, one after the other, and waits for each. The lock is held, except during the waits.
func (d *driver) kill(urbs map[*usbiptest.URB]bool) {
	for u := range urbs {
		d.host.Unlink(u)
		for urbs[u] && d.host.Err() == nil {
			d.changed.Wait()
		}
	}
}

// end unplugs the device and wakes every blocked call.
func (d *driver) end() {
	d.host.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed.Broadcast()
}

// set is tcsetattr, then TIOCMSET or TIOCSBRK.
func (d *driver) set(e uart.Event) {
	if e.Coding != (uart.Coding{}) || e.Flow != (uart.Flow{}) {
		d.mu.Lock()
		d.coding, d.flow = e.Coding.Over(d.coding), e.Flow.Over(d.flow)
		if d.coding.DataBits == 6 {
			d.coding.DataBits = 5 // as the driver does
		}
		d.mu.Unlock()
		d.setTermios()
	}
	var lines uint16
	for _, l := range []struct {
		level     uart.Level
		mask, bit uint16
	}{{e.Control.DTR, 0x100, 1}, {e.Control.RTS, 0x200, 2}} {
		if l.level != 0 {
			lines |= l.mask
		}
		if l.level == uart.LevelOn {
			lines |= l.bit
		}
	}
	if lines != 0 {
		d.request(1, lines, 0)
	}
	if e.Control.Break != 0 {
		d.mu.Lock()
		value := dataValue(d.coding)
		d.mu.Unlock()
		if e.Control.Break == uart.LevelOn {
			value |= 1 << 14
		}
		d.request(4, value, 0)
	}
}
