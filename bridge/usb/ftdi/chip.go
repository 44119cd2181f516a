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

// fidelity is everything but 6 data bits, for which Linux's driver has no word; purge: tcflush(TCOFLUSH) is not announced
// to the adapter, and TCIFLUSH empties the tty's own buffer (a driver that does announce a purge is obeyed); and flow
// control of one direction alone, because SET_FLOW_CTRL is about both.
const fidelity = uart.FullFidelity &^ (uart.CarriesSixBits | uart.CarriesPurge | uart.CarriesFlowApart)

// Chip is one emulated adapter with one port. Its methods Next, Write, SetModem, ReportLine and Fidelity are those of
// uart.Port, with its promises; who attaches it adds Name, Retire and Close. It outlives its attachments: Serve may be
// called again when it has returned, as an adapter that is plugged in again.
type Chip struct {
	config uart.PortConfig
	serial string
	log    *slog.Logger

	// life makes the port's openings and closings one after the other, over the call of Urgent; taken before mu.
	life sync.Mutex

	said said // by the driver; the stream's calls alone use it

	mu       sync.Mutex // over everything below; never held over I/O or a function of config
	upReady  sync.Cond  // up has something, or the chip is closed
	downRoom sync.Cond  // down has room, nobody has the port open any more, or the chip is closed

	closed  bool          // Close was called
	quiet   chan struct{} // nobody is told of anything until a close, which closes it; nil: told as ever
	muted   bool          // no close ends quiet yet
	stream  *usbip.Stream // where it is plugged in; nil: nowhere
	state   state
	period  uint64          // counts the closes, from 1
	fell    time.Time       // stateClosing: since when
	settled *time.Timer     // for settle; nil: nothing is uncertain
	opening *usbip.Transfer // the request by which an open waits for the session; nil: none does
	openBy  *time.Timer     // ends that wait

	up        ordered.Queue
	lent      bool              // Next has lent bytes that have not come back
	lending   [lendLimit]byte   // what it lends; Next's caller alone, between two calls
	held      []*usbip.Transfer // OUT transfers whose bytes are in up, above ordered.Limit
	changes   []change          // that wait for room in up, oldest first
	holding   *time.Timer       // for holds; nil: none waits
	stuck     bool              // a change has waited for holdMost, and nothing was taken since
	in        []*usbip.Transfer // IN transfers that wait, oldest first
	releasing *time.Timer       // for releaseAbsent; nil: nothing is held, or nobody can say
	down      downQueue
	error     byte                       // what the next byte is marked with
	modem     uart.ModemState            // the device's
	shown     uart.ModemState            // what the last packet said of it
	scratch   [maxPacket * maxBatch]byte // where packets are made

	// That changes were merged, or moved, was said since the queue was last not crowded, at a close.
	saidMerged, saidMoved bool
}

const (
	lendLimit = 4096     // bytes that Next returns at most
	downLimit = 16 << 10 // bytes from the device that wait for transfers; Write blocks above
	maxBatch  = 8        // packets that one transfer gets at most
)

// New makes a chip that is not plugged in yet. Of config it uses Unsent, Urgent and OpenWait. serial is the serial
// number that the adapter shows; what is beyond 126 characters is cut off. Lines are logged under the chip's locks, so log
// must not block: see package aside. nil: slog.Default().
func New(config uart.PortConfig, serial string, log *slog.Logger) *Chip {
	if log == nil {
		log = slog.Default()
	}
	c := &Chip{
		config: config, serial: serial, log: log, period: 1,
		said: said{
			coding: uart.DefaultCoding(), flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}, latency: defaultLatency,
		},
	}
	c.said.toldCoding, c.said.toldFlow = c.said.coding, c.said.flow
	c.upReady.L, c.downRoom.L = &c.mu, &c.mu
	return c
}

// Fidelity is what the chip carries: constant.
func (c *Chip) Fidelity() uart.Fidelity { return fidelity }

// Mute has Next tell nothing of what the driver does until Quiet, and the close after it. Who has the port open has closed it:
// it is called while the adapter is unplugged, or when the driver has let go of it.
func (c *Chip) Mute() {
	c.life.Lock()
	defer c.life.Unlock()
	c.closePort() // where the driver took no transfer back, nothing else shows it
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet == nil {
		c.quiet = make(chan struct{})
	}
	c.muted = true
}

// Quiet has Next tell nothing of what the driver does until the next close of the port, and closes the channel then: who
// plugs the adapter in prepares its tty. All that is written meanwhile is dropped; nothing waits. What was said meanwhile
// and stays counts from the next open on, when the driver says it again. It is called after Mute, or while the adapter is
// unplugged.
func (c *Chip) Quiet() (over <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet == nil {
		c.quiet = make(chan struct{})
	}
	c.muted = false
	return c.quiet
}

// closedInQuiet is a close while nobody is told of anything; the lock is held.
func (c *Chip) closedInQuiet() {
	if !c.muted {
		close(c.quiet)
		c.quiet = nil
	}
}

// Unplug ends Serve as a host does that lets the adapter go. It does not wait for it.
func (c *Chip) Unplug() {
	c.mu.Lock()
	s := c.stream
	c.mu.Unlock()
	if s != nil {
		_ = s.Close()
	}
}

// Requests is how many control requests the adapter has got since it was plugged in, 0 while it is not. Who waits for the
// host to make something of it sees by them that the host goes on.
func (c *Chip) Requests() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream == nil {
		return 0
	}
	return c.stream.Requests()
}

// Serve plays the adapter on a usbip stream until the stream ends, which is the adapter being unplugged (nil), Close
// (uart.ErrClosed), or an error of the connection or the peer. It closes conn. Who has the port open when the stream
// ends has closed it: Next says so. One stream at a time.
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
	c.shown = 0 // what a driver that has seen no packet takes the lines for
	return nil
}

// unplug ends what hung on the stream. closed: the whole chip has ended.
func (c *Chip) unplug() (closed bool) {
	c.life.Lock()
	defer c.life.Unlock()
	c.mu.Lock()
	c.performAll(true)
	c.stream, c.in, c.held = nil, nil, nil
	c.stopReleasing()
	c.unsettle()
	c.stopOpening()
	if c.state != stateClosed {
		// Whatever HUPCL says: an adapter without power drives nothing.
		c.tell(uart.Event{Kind: uart.KindSettings, Control: uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff}})
	}
	closed = c.closed
	c.mu.Unlock()
	if !closed {
		c.closePort()
	}
	return closed
}

// Close ends the chip: Serve closes its stream and returns, every blocked and every later call returns uart.ErrClosed.
// It does not wait for Serve. Idempotent.
func (c *Chip) Close() error {
	c.mu.Lock()
	s := c.stream
	c.closed = true
	c.changes = nil
	c.stopHolding()
	c.stopReleasing()
	c.unsettle()
	c.stopOpening()
	c.upReady.Broadcast()
	c.downRoom.Broadcast()
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Close()
}

// device is the chip as its stream sees it.
type device struct{ *Chip }

// Control implements usbip.Device.
func (d device) Control(t *usbip.Transfer) { d.control(t) }

// Out implements usbip.Device.
func (d device) Out(t *usbip.Transfer) { d.takeOut(t) }

// In implements usbip.Device.
func (d device) In(t *usbip.Transfer) { d.takeIn(t) }

// Unlinked implements usbip.Device.
func (d device) Unlinked(t *usbip.Transfer, pending bool) { d.unlinked(t, pending) }
