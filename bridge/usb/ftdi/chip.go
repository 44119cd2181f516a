package ftdi

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
)

// fidelity is everything except
//   - 6 data bits, which Linux's driver cannot express;
//   - purge: Linux does not announce tcflush(TCOFLUSH) to the adapter, and TCIFLUSH empties the tty's own buffer (a purge by a
//     driver that does announce it is obeyed);
//   - flow control that differs by direction: SET_FLOW_CTRL sets both.
const fidelity = uart.FullFidelity &^ (uart.CarriesSixBits | uart.CarriesPurge | uart.CarriesFlowApart)

// Chip is one emulated adapter with one port. Its methods Next, Write, SetModem, ReportLine and Fidelity are those of
// uart.Port, with the same contract; the host that attaches it adds the other methods. It outlives its attachments:
// after Serve has returned it may be called again, as when an adapter is plugged in again.
type Chip struct {
	// Constant.
	config uart.PortConfig
	serial string
	log    *slog.Logger

	// Used only in the stream's calls (device), which come one at a time.
	driver driver

	// Used only by Next: the bytes that it lends until its following call.
	lendBuf [lendLimit]byte

	// life serialises the openings and closings of the port, including the call of Urgent. It is taken before mu.
	life sync.Mutex

	// mu guards everything below. It is never held over I/O or a function of config.
	mu sync.Mutex

	// The stream that it is plugged into.
	closed bool          // Close was called
	stream *usbip.Stream // nil: not plugged in
	quiet  chan struct{} // not nil: a quiet period; it ends at a close of the port, which closes the channel
	muted  bool          // Quiet has not been called yet: no close ends the quiet period

	// Whether an application has the port open (life.go).
	state        state
	epoch        uint64          // number of closes, plus 1
	closingSince time.Time       // when state became stateClosing
	settleTimer  *time.Timer     // calls settle; nil: the state is not in doubt
	opening      *usbip.Transfer // the request by which an open waits for the session; nil: none does
	openTimer    *time.Timer     // ends that wait

	// From the application (up.go, drain.go).
	upReady      sync.Cond // up has something, or the chip is closed
	up           ordered.Queue
	lent         bool              // Next has lent bytes and was not called again
	heldOut      []*usbip.Transfer // OUT transfers, oldest first, whose bytes are in up, above ordered.Limit
	releaseTimer *time.Timer       // calls releaseAbsent; nil: nothing is held, or Unsent is unknown

	// Changes of lines and break (hold.go).
	changes   []change    // waiting for room in up, oldest first
	holdTimer *time.Timer // calls checkHeld; nil: no change waits
	stuck     bool        // a change has waited for maxHold, and Next has returned nothing since

	// Whether it was logged that changes were merged, or moved after later bytes; reset at a close at which up is not
	// crowded.
	loggedMerged, loggedMoved bool

	// To the application (down.go).
	downRoom  sync.Cond // down has room, the port is no longer open, or the chip is closed
	down      downQueue
	in        []*usbip.Transfer          // pending IN transfers, oldest first
	nextError byte                       // errors to report with the next byte
	modem     uart.ModemState            // the device's
	reported  uart.ModemState            // the modem state in the last packet
	scratch   [maxPacket * maxBatch]byte // buffer for the packets of one transfer
}

const (
	lendLimit = 4096     // maximum bytes that Next returns
	downLimit = 16 << 10 // bytes from the device that may wait for transfers; above, Write blocks
	maxBatch  = 8        // maximum packets in one transfer
)

// New returns a chip that is not plugged in yet. Of config it uses Unsent, Urgent and OpenWait. serial is the serial number
// that the adapter shows, truncated to 126 characters. The chip logs while it holds its locks, so log must not block:
// hosts pass a logger of ptyhost/aside. nil: slog.Default().
func New(config uart.PortConfig, serial string, log *slog.Logger) *Chip {
	if log == nil {
		log = slog.Default()
	}
	c := &Chip{
		config: config, serial: serial, log: log, epoch: 1,
		driver: driver{
			coding: uart.DefaultCoding(), flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}, latency: defaultLatency,
		},
	}
	c.driver.queuedCoding, c.driver.queuedFlow = c.driver.coding, c.driver.flow
	c.upReady.L, c.downRoom.L = &c.mu, &c.mu
	return c
}

// Fidelity returns what the chip carries. It is constant.
func (c *Chip) Fidelity() uart.Fidelity { return fidelity }

// Mute begins a quiet period: Next reports nothing that the driver does until Quiet is called and the port is closed
// after that. If the port is open, it counts as closed: Mute is called while the adapter is unplugged, or after the
// driver has released it.
func (c *Chip) Mute() {
	c.life.Lock()
	defer c.life.Unlock()
	c.closePort() // without an unlinked transfer the driver's close is not visible
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet == nil {
		c.quiet = make(chan struct{})
	}
	c.muted = true
}

// Quiet makes the quiet period end at the next close of the port, and closes the channel then. The host uses it to
// prepare the tty of an adapter that it has plugged in. During the quiet period Next reports nothing that the driver
// does, written bytes are dropped and nothing waits. Settings take effect at the next open, when the driver sends them
// again. Quiet is called after Mute, or while the adapter is unplugged.
func (c *Chip) Quiet() (over <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet == nil {
		c.quiet = make(chan struct{})
	}
	c.muted = false
	return c.quiet
}

// closedInQuiet ends the quiet period at a close of the port, if Quiet was called. The caller holds mu.
func (c *Chip) closedInQuiet() {
	if !c.muted {
		close(c.quiet)
		c.quiet = nil
	}
}

// Unplug ends Serve, as if the USB host had released the adapter. It does not wait for Serve.
func (c *Chip) Unplug() {
	c.mu.Lock()
	s := c.stream
	c.mu.Unlock()
	if s != nil {
		_ = s.Close()
	}
}

// Requests returns how many control requests the adapter has received since it was plugged in, 0 while it is not. They show
// that the USB host is making progress with it.
func (c *Chip) Requests() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream == nil {
		return 0
	}
	return c.stream.Requests()
}

// Serve emulates the adapter on a usbip stream until the adapter is unplugged (nil), Close is called (uart.ErrClosed), or the
// connection or the peer fails. It closes conn. If the port is open when the stream ends, Next reports a close. One stream at a
// time.
func (c *Chip) Serve(conn io.ReadWriteCloser) error {
	s := usbip.New(conn, usbip.Table{
		Vendor: VendorID, Product: ProductID, Release: releaseFT4232H,
		Manufacturer: Manufacturer, Name: Product, Serial: c.serial,
		Endpoints: []usbip.Endpoint{{Address: endpointIn, MaxPacket: maxPacket}, {Address: endpointOut, MaxPacket: maxPacket}},
	}, device{c})
	if err := c.plug(s); err != nil {
		_ = conn.Close()
		return err
	}
	err := s.Serve()
	if c.unplug() {
		return uart.ErrClosed
	}
	return err
}

func (c *Chip) plug(s *usbip.Stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return uart.ErrClosed
	case c.stream != nil:
		return errors.New("the adapter is plugged in already")
	}
	c.stream = s
	c.reported = 0 // what a driver assumes before the first packet
	return nil
}

// unplug drops what depends on the stream. closed: the chip is closed.
func (c *Chip) unplug() (closed bool) {
	c.life.Lock()
	defer c.life.Unlock()
	c.mu.Lock()
	c.performAll(true)
	c.stream, c.in, c.heldOut = nil, nil, nil
	c.stopReleasing()
	c.stopSettling()
	c.stopOpening()
	if c.state != stateClosed {
		// Even without HUPCL: an adapter without power drives no line.
		c.addLocked(uart.Event{Kind: uart.KindSettings, Control: uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff}})
	}
	closed = c.closed
	c.mu.Unlock()
	if !closed {
		c.closePort()
	}
	return closed
}

// Close ends the chip: Serve returns, and every blocked and later call returns uart.ErrClosed. It does not wait for Serve.
// Idempotent.
func (c *Chip) Close() error {
	c.mu.Lock()
	s := c.stream
	c.closed = true
	c.changes = nil
	c.stopHolding()
	c.stopReleasing()
	c.stopSettling()
	c.stopOpening()
	c.upReady.Broadcast()
	c.downRoom.Broadcast()
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Close()
}

// device is the chip as the usbip stream sees it.
type device struct{ *Chip }

// Control implements usbip.Device.
func (d device) Control(t *usbip.Transfer) { d.control(t) }

// Out implements usbip.Device.
func (d device) Out(t *usbip.Transfer) { d.takeOut(t) }

// In implements usbip.Device.
func (d device) In(t *usbip.Transfer) { d.takeIn(t) }

// Unlinked implements usbip.Device.
func (d device) Unlinked(t *usbip.Transfer, pending bool) { d.unlinked(t, pending) }
