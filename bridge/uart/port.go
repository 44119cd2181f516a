package uart

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"
)

// Errors that callers branch on.
var (
	// ErrClosed is returned by every call on a Port that Close has ended.
	ErrClosed = errors.New("port closed")
	// ErrNotCarried says that a host cannot carry what was asked; NotCarried names the operation.
	ErrNotCarried = errors.New("not carried by this port host")
)

// NotCarried returns ErrNotCarried with the operation and the host named.
func NotCarried(host, operation string) error {
	return fmt.Errorf("%s: %s: %w", host, operation, ErrNotCarried)
}

// Port is a virtual serial port, seen from the side that the application does not see: one ordered stream of what
// the application does, and a way to give it what the device does.
//
// Next has one caller, Write and ReportLine share one caller; SetModem, Retire and Close may be called by anyone at
// any time. After Close every blocked and every later call returns ErrClosed.
type Port interface {
	// Next waits for the next thing that the application did and returns it: bytes (Kind is KindData), or one
	// Event. The bytes belong to the port and are valid until the following call. An event is never returned
	// before bytes that the application wrote before it, where the host can know their order. It waits for the
	// application only, never for a Write; it fails with ErrClosed, or when the port is lost for good.
	Next() (p []byte, e Event, err error)

	// Write gives bytes from the device to the application. It blocks while the application does not read: that is
	// the back pressure. When nobody has the port open any more it returns at once; n counts what the application
	// can read, the rest was dropped. It does not keep p.
	Write(p []byte) (n int, err error)

	// SetModem shows the device's modem state to the application. It never blocks.
	SetModem(m ModemState) error

	// ReportLine reports what the far UART saw: parity and framing errors belong to the next byte written, break
	// and overrun are given at once.
	ReportLine(l LineState) error

	// Fidelity is what this port carries. It is constant for the port's life.
	Fidelity() Fidelity

	// Name is the device that the application really opens: /dev/pts/4, ttyUSB1, COM9.
	Name() string

	// Retire takes the port's path away, so that nobody new can open it; who has it open keeps it. Idempotent.
	// ErrNotCarried where the path is the system's own.
	Retire() error

	// Close ends the port: the path goes, the application's calls fail as its host's unplugged ports do, every
	// blocked call returns. Idempotent.
	Close() error
}

// PortConfig is what a Host needs to make a port.
type PortConfig struct {
	Path  string      // where the application finds it: /dev/ttyV0
	Owner string      // user name or number; empty: as the system makes it
	Group string      // group name or number; empty: the host's default
	Mode  fs.FileMode // permission bits; 0: the host's default

	// Unsent says what is known of the bytes that Next has returned and that have not left the far UART yet. From any
	// goroutine, also under a lock of the host; it never blocks and calls nothing of the port. nil counts as always the
	// zero value.
	Unsent func() Unsent

	// Urgent is called as soon as a purge or the last close is known, before its place in the stream is reached;
	// the same event comes from Next later, or one that says that it stands for it (Event.Purges, Visits). It never blocks.
	// nil: nobody wants to know.
	Urgent func(Event)

	// OpenWait is how long an application's open may wait for the session at most, where the host can make it wait
	// (Event.Ready); then it goes on without one. Such a host lets an open also wait until what was written before the
	// last close has left the far UART, as a UART's driver does, whose close waits: an open with O_NONBLOCK too, as long
	// as bytes leave; 30 s in which none does end that while a session is up, OpenWait while none is. 0: an open waits
	// for nothing, and a program may then read what answers the one before, as far as that comes late.
	OpenWait time.Duration

	// Pinned overrides the coding that the application asks for, whatever it is; a host that cannot learn that needs it.
	// Fields that are not said are the application's.
	Pinned Coding

	// Log takes what a user should know and no caller can act on. nil: slog.Default().
	Log *slog.Logger
}

// Unsent is what is known of bytes that have not left the far UART yet.
type Unsent struct {
	// Left is how long the far UART will still need; 0: it is empty as far as is known. Ask again after that time, or
	// when Changed is closed, whichever comes first. A host that can drain says "empty" only when this is 0, its own queue
	// is empty and the bytes that it lent have come back (the following Next). Negative: there is no session, and there
	// has been none for so long that no byte is waited for: then the host says "empty" whatever its queue holds, as a
	// UART does behind a cut cable. The bytes stay. So a host in whose queue bytes are waited for asks too, again and
	// again, a few times a second at least.
	Left time.Duration
	// Bytes is how many they are, as far as is known: at least 1 where Left is not 0, and 0 where it is. Bytes that the
	// host has lent may be counted already. It falls as the line carries them.
	Bytes int
	// Up says that a session is up: an open need not wait for one.
	Up bool
	// Changed is closed when the answer may be another one sooner than the time alone would make it: a mark was answered,
	// the transmitter was seen empty, a session has come or is lost. nil: that is never told. Who does not wait may forget
	// it.
	Changed <-chan struct{}
}

// Host makes ports of one kind.
type Host interface {
	// Name is the host's word in configuration and log: pty, kernel, com0com.
	Name() string
	// Check is nil where the host works on this machine, else the reason and the way out, in one line.
	Check() error
	// Fidelity is what this host's ports carry.
	Fidelity() Fidelity
	// Open makes a port. When it returns, the port's path exists and is ready to be opened: coding DefaultCoding,
	// raw, no echo, no flow control, owner and mode already set.
	Open(ctx context.Context, config PortConfig) (Port, error)
}
