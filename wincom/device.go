package wincom

import (
	"errors"
	"time"
)

// Device is an open serial port of the system: the agent's end of a pair. It is the border to the operating system; what
// uses it knows no handles. Read and Write have one caller each; the other methods may be called from any goroutine at any
// time. After Close every blocked and every later call returns ErrDeviceClosed. Close is idempotent.
type Device interface {
	// Read waits for a byte and returns what there is, up to len(p). It returns 0 and no error if nothing arrived within
	// that time (negative: no limit), or if the driver ended the wait early. No byte is lost then.
	Read(p []byte, within time.Duration) (n int, err error)

	// Write waits until the driver has taken all of p. After StopWrites(true) it returns ErrStopped; the driver has then
	// taken at least n bytes. It does not keep p.
	Write(p []byte) (n int, err error)

	// StopWrites makes every Write, including one that is blocked, return ErrStopped until it is called with false.
	StopWrites(stop bool)

	// Ioctl makes a request that the driver completes at once. n is the number of bytes that it returned in out.
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
