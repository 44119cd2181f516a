// Package serialport is a serial port of this system as a uart.Device. It opens the port exclusively, makes UUCP lock
// files so that other programs see that it is in use, and polls the modem lines and the transmitter. An access server
// opens a Port for each client. The package knows no server, no client and no network.
package serialport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"

	"telnetcpc/bridge/uart"
)

// Port is a serial port of this machine. It is opened again for each client, as a local program would: the system raises DTR
// and RTS then, and lowers them when the client leaves. Between clients other programs may use the port, and it may be
// unplugged and plugged in again. Its methods may be called from any goroutine.
type Port struct {
	Path string       // /dev/ttyUSB0, /dev/serial/by-id/..., COM3
	Log  *slog.Logger // for debug messages; nil: slog.Default()

	locking
}

var errInUse = errors.New("in use by another program")

// Open opens the port exclusively, raw, at uart.DefaultCoding and without flow control. On Unix it also makes UUCP lock
// files in those lock directories that exist and are writable. The error is one line with a hint about what to do.
func (s *Port) Open(ctx context.Context) (uart.Device, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := s.open(openTTY)
	if err != nil {
		return nil, err
	}
	return s.start(t)
}

// Check opens the port and closes it again. missing lists, as text, what the port cannot carry; it may be empty. The
// error is that of Open.
func (s *Port) Check() (missing string, err error) {
	t, err := s.open(openTTY)
	if err != nil {
		return "", err
	}
	return t.traits().missing, t.close()
}

// Present returns nil if the port's name exists, else the error of Open. It does not touch the port.
func (s *Port) Present() error {
	info, err := os.Stat(s.Path)
	switch {
	case !namesAreFiles:
		return nil
	case err != nil:
		return s.explain(err)
	case info.Mode()&fs.ModeCharDevice == 0: // opening anything else may block, or have side effects
		return s.explain(syscall.ENOTTY)
	}
	return nil
}

func (s *Port) open(openTTY func(path string) (tty, error)) (tty, error) {
	if err := s.Present(); err != nil {
		return nil, err
	}
	locks, err := s.lock() // before the port is opened, because that raises DTR
	if err != nil {
		return nil, s.explain(err)
	}
	t, err := openTTY(s.Path)
	if err != nil {
		locks.remove()
		return nil, s.explain(err)
	}
	return &lockedTTY{t, locks}, nil
}

// start makes a device of an open tty, with the initial settings.
func (s *Port) start(t tty) (uart.Device, error) {
	initial := uart.Event{
		Kind:   uart.KindSettings,
		Coding: uart.DefaultCoding(),
		Flow:   uart.Flow{Out: uart.FlowNone, In: uart.FlowNone},
		// The system raises both lines when a port is opened.
		Control: uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOn, Break: uart.LevelOff},
	}
	inForce, err := t.apply(uart.Event{Coding: initial.Coding, Flow: initial.Flow}, initial)
	if err != nil {
		_ = t.close()
		return nil, s.explain(err)
	}
	return newDevice(s.Path, t, inForce), nil
}

// explain turns an error into one line: why the port could not be opened, and what to do.
func (s *Port) explain(err error) error {
	failed := func(format string, args ...any) error {
		return fmt.Errorf("open %s: "+format, append([]any{s.Path}, args...)...)
	}
	var other lockedError
	switch {
	case errors.As(err, &other):
		return failed("%w%s (end it: only one program can use the port; its lock file is %s)", errInUse, programOf(other.pid), other.file)
	case errors.Is(err, errInUse), errors.Is(err, syscall.EBUSY):
		return failed("%w%s (end it: only one program can use the port)", errInUse, holderOf(s.Path))
	case errors.Is(err, fs.ErrNotExist):
		return failed("no such device (is it plugged in? %s)", portsHint)
	case errors.Is(err, fs.ErrPermission):
		return failed("permission denied (%s)", permissionHint(s.Path))
	case errors.Is(err, syscall.ENOTTY), errors.Is(err, syscall.EINVAL):
		return failed("not a serial port (%s)", portsHint)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ENODEV):
		return failed("no UART at this name (%s)", portsHint)
	}
	return failed("%w", withoutPath(err))
}

// withoutPath returns the cause of a *fs.PathError, whose path the caller's message already has.
func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
