package uart

import (
	"context"
	"io/fs"
	"log/slog"
	"time"
)

// Host creates ports of one kind.
type Host interface {
	// Name returns the host's name in configuration and log: pty, kernel, com0com.
	Name() string

	// Check returns nil if the host works on this machine, else the reason and the remedy, in one line.
	Check() error

	// Fidelity returns what this host's ports carry.
	Fidelity() Fidelity

	// Open creates a port. When it returns, the port's path exists and can be opened: coding DefaultCoding, raw, no
	// echo, no flow control, owner and mode set. ctx limits Open only, not the port.
	Open(ctx context.Context, config PortConfig) (Port, error)
}

// PortConfig is what a Host needs to create a port.
type PortConfig struct {
	Path  string      // where the application opens it: /dev/ttyV0
	Owner string      // user name or number; empty: the system's default
	Group string      // group name or number; empty: the host's default
	Mode  fs.FileMode // permission bits; 0: the host's default

	// Unsent returns what is known about bytes that Next has returned and that have not left the far UART. It may be
	// called from any goroutine, also under a lock of the host; it never blocks and calls no method of the port. nil:
	// as if it always returned the zero value.
	Unsent func() Unsent

	// Urgent is called as soon as the host knows of a purge or the last close, before Next reaches it in the stream.
	// Next returns the same event later, or one that counts it (Event.Purges, Visits). It never blocks. nil: not
	// wanted.
	Urgent func(Event)

	// OpenWait limits how long an application's open waits for the session, if the host can make it wait (Event.Ready);
	// then it continues without one. On such a host an open, even with O_NONBLOCK, also waits until what was written before
	// the last close has left the far UART, as the close of a UART's driver does. That wait lasts while bytes leave; it
	// ends after 30 s without progress while a session is up, and after OpenWait while none is. 0: an open waits for
	// nothing, and a program may then read late replies to the previous program's bytes.
	OpenWait time.Duration

	// Pinned overrides the coding that the application requests; a host that needs the current coding and cannot learn
	// it from the application uses this one. Unset fields are the application's.
	Pinned Coding

	// Log receives messages for the user that no caller can act on. nil: slog.Default().
	Log *slog.Logger
}

// Unsent is what is known about bytes that have not left the far UART.
type Unsent struct {
	// Left is how long the far UART will still need; 0: nothing is known to be left. Ask again after that time, or when
	// Changed is closed, whichever is first. A host that can drain reports "empty" only when Left is 0, its own queue
	// is empty and the bytes that Next lent have been returned (by the following call of Next).
	//
	// Negative: there has been no session for so long that no drain, close or open should wait for bytes any longer.
	// The host then reports "empty" whatever its queue holds, as a UART with an unplugged cable does; the bytes stay
	// queued. A host with a waiting caller must therefore call Unsent a few times a second even while its own queue is
	// not empty.
	Left time.Duration

	// Bytes estimates their number: at least 1 if Left is not 0, and 0 if it is. It may include bytes that the host has
	// lent. It falls as they leave.
	Bytes int

	// Up reports that a session is up: an open need not wait for one.
	Up bool

	// Changed is closed when the result may have changed before Left has passed: a mark was answered, the transmitter
	// became empty, a session came up or was lost. nil: changes are not reported. A caller that does not wait may
	// ignore it.
	Changed <-chan struct{}
}
