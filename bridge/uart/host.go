package uart

import (
	"context"
	"io/fs"
	"log/slog"
	"time"
)

// Host makes ports of one kind.
type Host interface {
	// Name is the host's word in configuration and log: pty, kernel, com0com.
	Name() string

	// Check returns nil if the host works on this machine, else the reason and the remedy, in one line.
	Check() error

	// Fidelity is what this host's ports carry.
	Fidelity() Fidelity

	// Open makes a port. When it returns, the port's path exists and can be opened: coding DefaultCoding, raw, no echo, no
	// flow control, owner and mode set.
	Open(ctx context.Context, config PortConfig) (Port, error)
}

// PortConfig is what a Host needs to make a port.
type PortConfig struct {
	Path  string      // where the application finds it: /dev/ttyV0
	Owner string      // user name or number; empty: the system's default
	Group string      // group name or number; empty: the host's default
	Mode  fs.FileMode // permission bits; 0: the host's default

	// Unsent returns what is known of bytes that Next has returned and that have not left the far UART. It may be called
	// from any goroutine, also under a lock of the host; it never blocks and calls no method of the port. nil counts as
	// always the zero value.
	Unsent func() Unsent

	// Urgent is called as soon as a purge or the last close is known, before its place in the stream is reached. Next
	// returns the same event later, or one that counts it (Event.Purges, Visits). It never blocks. nil: not wanted.
	Urgent func(Event)

	// OpenWait limits how long an application's open waits for the session, if the host can make it wait (Event.Ready);
	// then it continues without one. On such a host an open, even with O_NONBLOCK, also waits until what was written before
	// the last close has left the far UART, as the close of a UART's driver does. That wait lasts while bytes leave; it ends
	// after 30 s without progress while a session is up, and after OpenWait while none is. 0: an open waits for nothing,
	// and a program may then read late answers to the one before it.
	OpenWait time.Duration

	// Pinned overrides the coding that the application requests; a host that needs the coding in force and cannot learn it
	// from the application uses it. Unset fields are the application's.
	Pinned Coding

	// Log takes what a user should know and no caller can act on. nil: slog.Default().
	Log *slog.Logger
}

// Unsent is what is known of bytes that have not left the far UART.
type Unsent struct {
	// Left is how long the far UART will still need; 0: it is empty as far as is known. Ask again after that time, or when
	// Changed is closed, whichever is first. A host that can drain reports "empty" only when Left is 0, its own queue is
	// empty and the bytes it lent have come back (with the following Next).
	//
	// Negative: there has been no session for so long that no byte is waited for. The host then reports "empty" whatever
	// its queue holds, as a UART with a cut cable does; the bytes stay. A host must therefore ask a few times a second
	// even while its own queue is not empty.
	Left time.Duration

	// Bytes is how many they are, as far as is known: at least 1 if Left is not 0, and 0 if it is. It may include bytes
	// that the host has lent. It falls as the line carries them.
	Bytes int

	// Up reports that a session is up: an open need not wait for one.
	Up bool

	// Changed is closed when the answer may change sooner than Left says: a mark was answered, the transmitter became
	// empty, a session came up or was lost. nil: that is not reported. A caller that does not wait may drop it.
	Changed <-chan struct{}
}
