package ftdi

import (
	"io"
	"log/slog"

	"telnetcpc/bridge/uart"
)

// fidelity is everything but 6 data bits, for which the requests have no word that Linux's driver uses, and purge:
// tcflush(TCOFLUSH) is not announced to the adapter, and TCIFLUSH empties the tty's own buffer. A driver that does
// announce a purge is obeyed.
const fidelity = uart.FullFidelity &^ uart.Fidelity(uart.CarriesSixBits|uart.CarriesPurge)

// Chip is one emulated adapter with one port. Its methods Next, Write, SetModem, ReportLine and Fidelity are those of
// uart.Port, with its promises; who attaches it adds Name, Retire and Close. It outlives its attachments: Serve may be
// called again when it has returned, as an adapter that is plugged in again.
type Chip struct {
	config uart.PortConfig
	serial string
	log    *slog.Logger
}

// New makes a chip that is not plugged in yet. Of config it uses Unsent and Urgent. serial is the serial number that
// the adapter shows, printable ASCII, at most 126 characters are used. log nil: slog.Default().
func New(config uart.PortConfig, serial string, log *slog.Logger) *Chip {
	return &Chip{config: config, serial: serial, log: log}
}

// Fidelity is what the chip carries: constant.
func (c *Chip) Fidelity() uart.Fidelity { return fidelity }

// Next implements uart.Port.
func (c *Chip) Next() ([]byte, uart.Event, error) { return nil, uart.Event{}, uart.ErrClosed }

// Write implements uart.Port.
func (c *Chip) Write([]byte) (int, error) { return 0, uart.ErrClosed }

// SetModem implements uart.Port.
func (c *Chip) SetModem(uart.ModemState) error { return uart.ErrClosed }

// ReportLine implements uart.Port.
func (c *Chip) ReportLine(uart.LineState) error { return uart.ErrClosed }

// Serve plays the adapter on a usbip stream until the stream ends, which is the adapter being unplugged (nil), Close
// (uart.ErrClosed), or an error of the peer. It closes conn. Who has the port open when the stream ends has closed it:
// Next says so. One stream at a time.
func (c *Chip) Serve(conn io.ReadWriteCloser) error { return uart.ErrClosed }

// Close ends the chip: Serve closes its stream and returns, every blocked and every later call returns uart.ErrClosed.
// When it returns no goroutine of the chip is left but Serve's caller. Idempotent; not to be called from Urgent.
func (c *Chip) Close() error { return nil }
