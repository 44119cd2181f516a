package uart

import (
	"errors"
	"fmt"
)

// Port is the bridge's side of a virtual serial port: one ordered stream of what the application does, and methods that
// pass on what the device does.
//
// Next has one caller. Write and ReportLine share one caller. SetModem, Fidelity, Name, Retire and Close may be called from
// any goroutine at any time. After Close every blocked and every later call returns ErrClosed.
type Port interface {
	// Next waits for the application's next action and returns it: bytes (Kind is KindData), or one Event. The bytes
	// belong to the port and are valid until the following call. An event is never returned before bytes that the
	// application wrote before it, if the host can determine their order. Next waits for the application only, never
	// for a Write; it fails with ErrClosed, or when the port is lost for good.
	Next() (p []byte, e Event, err error)

	// Write passes bytes from the device to the application. It blocks while the application does not read: that is the
	// back pressure. Once no program has the port open it returns at once; n counts the bytes that the application can
	// read, the rest was dropped. It does not keep p.
	Write(p []byte) (n int, err error)

	// SetModem shows the device's modem state to the application. It never blocks.
	SetModem(m ModemState) error

	// ReportLine shows the application the errors and breaks of the far UART: parity and framing errors belong to the
	// next byte written, break and overrun are reported at once.
	ReportLine(l LineState) error

	// Fidelity returns what this port carries. It is constant for the port's life.
	Fidelity() Fidelity

	// Name returns the device that the application actually opens: /dev/pts/4, ttyUSB1, COM9.
	Name() string

	// Retire removes the port's path, so that no further program can open it; programs that have it open keep it.
	// Idempotent. ErrNotCarried if the path belongs to the system.
	Retire() error

	// Close ends the port: the path is removed, the application's calls fail as they do on an unplugged device, every
	// blocked call returns. Idempotent.
	Close() error
}

// Errors that callers branch on.
var (
	// ErrClosed is returned by blocked and later calls on a closed Port or Device.
	ErrClosed = errors.New("port closed")
	// ErrNotCarried reports that a host cannot carry what was requested; NotCarried adds the operation.
	ErrNotCarried = errors.New("not carried by this port host")
)

// NotCarried returns ErrNotCarried with the host and the operation.
func NotCarried(host, operation string) error {
	return fmt.Errorf("%s: %s: %w", host, operation, ErrNotCarried)
}
