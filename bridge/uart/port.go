package uart

import (
	"errors"
	"fmt"
)

// Port is a virtual serial port, seen from the side that the application does not see: one ordered stream of what the
// application does, and a way to give it what the device does.
//
// Next has one caller. Write and ReportLine share one caller. SetModem, Fidelity, Name, Retire and Close may be called from
// any goroutine at any time. After Close every blocked and every later call returns ErrClosed.
type Port interface {
	// Next waits for the next thing that the application did and returns it: bytes (Kind is KindData), or one Event. The
	// bytes belong to the port and are valid until the following call. An event is never returned before bytes that the
	// application wrote before it, if the host can know their order. Next waits for the application only, never for a
	// Write; it fails with ErrClosed, or when the port is lost for good.
	Next() (p []byte, e Event, err error)

	// Write gives bytes from the device to the application. It blocks while the application does not read: that is the
	// back pressure. Once nobody has the port open it returns at once; n counts what the application can read, the rest
	// was dropped. It does not keep p.
	Write(p []byte) (n int, err error)

	// SetModem shows the device's modem state to the application. It never blocks.
	SetModem(m ModemState) error

	// ReportLine shows the application what the far UART noticed: parity and framing errors belong to the next byte
	// written, break and overrun are reported at once.
	ReportLine(l LineState) error

	// Fidelity is what this port carries. It is constant for the port's life.
	Fidelity() Fidelity

	// Name is the device that the application really opens: /dev/pts/4, ttyUSB1, COM9.
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
	// ErrClosed is returned by every call on a Port or Device that Close has ended.
	ErrClosed = errors.New("port closed")
	// ErrNotCarried reports that a host cannot carry what was requested; NotCarried adds the operation.
	ErrNotCarried = errors.New("not carried by this port host")
)

// NotCarried returns ErrNotCarried with the host and the operation.
func NotCarried(host, operation string) error {
	return fmt.Errorf("%s: %s: %w", host, operation, ErrNotCarried)
}
