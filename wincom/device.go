package wincom

import (
	"errors"
	"time"
)

// Device is a serial port of the system that this process has opened: the agent's end of a pair. It is the border to the
// operating system: what stands on it knows no handles. Read and Write have one caller each; the other methods may be
// called by anyone at any time. Close is idempotent; it ends every call, and every later call returns ErrDeviceClosed.
type Device interface {
	// Read waits until there is a byte and returns what is there, as much as fits. 0 without an error: nothing came
	// within that time (negative: for ever), or the driver ended the wait early. No byte is lost by it.
	Read(p []byte, within time.Duration) (n int, err error)

	// Write gives p to the driver and waits until it has taken all of it. While StopWrites holds it returns ErrStopped;
	// n is then at most what the driver has taken. It does not keep p.
	Write(p []byte) (n int, err error)

	// StopWrites makes Write, also one that waits, return ErrStopped until it is called with false.
	StopWrites(stop bool)

	// Ioctl makes a request of the driver that is answered at once. n is the size of its answer in out.
	Ioctl(code Ioctl, in, out []byte) (n int, err error)

	Close() error
}

// Errors of a Device, and of opening one, that callers branch on.
var (
	ErrDeviceClosed = errors.New("device closed")
	ErrStopped      = errors.New("stopped")
	ErrBusy         = errors.New("held by another program")
	ErrNoDevice     = errors.New("no such device")
)
