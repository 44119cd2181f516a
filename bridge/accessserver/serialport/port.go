// Package serialport is a serial port of this system as a uart.Device: it opens the port exclusively, with UUCP lock files where
// programs look for them, and watches its modem lines and transmitter. An access server opens one for each client. It knows no
// server, no client and no network.
package serialport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.bug.st/serial"

	"telnetcpc/bridge/uart"
)

// Port is a serial port of this machine. It is opened for each client anew, as a local program does: the system raises
// DTR and RTS then, and they fall when the client leaves. Between clients it is free for other programs, and may be
// unplugged and come back.
type Port struct {
	Path string       // /dev/ttyUSB0, /dev/serial/by-id/..., COM3
	Log  *slog.Logger // for what nobody needs to know; nil: slog.Default()

	locking
}

// errInUse is the cause where another program has the port.
var errInUse = errors.New("in use by another program")

// Open takes the port exclusively, at DefaultCoding, raw, without flow control. On Unix that means UUCP lock files too, as
// far as there is a place for them. The error is one line with the way out.
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

// Check opens the port and closes it again, and says what it cannot carry; empty: nothing. The error is Open's.
func (s *Port) Check() (missing string, err error) {
	t, err := s.open(openTTY)
	if err != nil {
		return "", err
	}
	return t.traits().missing, t.close()
}

// Present is nil when the port's name exists, else Open's error. It does not touch the port.
func (s *Port) Present() error {
	info, err := os.Stat(s.Path)
	switch {
	case !namesAreFiles:
		return nil
	case err != nil:
		return s.explain(err)
	case info.Mode()&fs.ModeCharDevice == 0: // opening anything else may wait, or do harm
		return s.explain(syscall.ENOTTY)
	}
	return nil
}

func (s *Port) open(how func(path string) (tty, error)) (tty, error) {
	if err := s.Present(); err != nil {
		return nil, err
	}
	locks, err := s.lock() // first: to open a port raises DTR
	if err != nil {
		return nil, s.explain(err)
	}
	t, err := how(s.Path)
	if err != nil {
		locks.remove()
		return nil, s.explain(err)
	}
	return &locked{t, locks}, nil
}

// start puts the port into its first state.
func (s *Port) start(t tty) (uart.Device, error) {
	first := uart.Event{
		Kind:   uart.KindSettings,
		Coding: uart.DefaultCoding(),
		Flow:   uart.Flow{Out: uart.FlowNone, In: uart.FlowNone},
		// What the system does when a port is opened.
		Control: uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOn, Break: uart.LevelOff},
	}
	inForce, err := t.apply(uart.Event{Coding: first.Coding, Flow: first.Flow}, first)
	if err != nil {
		_ = t.close()
		return nil, s.explain(err)
	}
	return newDevice(s.Path, t, inForce), nil
}

// explain says in one line why the port could not be opened, and the way out.
func (s *Port) explain(err error) error {
	var own *serial.PortError
	code := serial.FunctionNotImplemented // stands for none: opening never fails with it
	if errors.As(err, &own) {
		code = own.Code()
	}
	what := func(format string, args ...any) error {
		return fmt.Errorf("open %s: "+format, append([]any{s.Path}, args...)...)
	}
	var other lockedError
	switch {
	case errors.As(err, &other):
		return what("%w%s (end it: one program at a time has the port; its lock is %s)", errInUse, program(other.pid), other.file)
	case errors.Is(err, errInUse), errors.Is(err, syscall.EBUSY), code == serial.PortBusy:
		return what("%w%s (end it: one program at a time has the port)", errInUse, holder(s.Path))
	case errors.Is(err, fs.ErrNotExist), code == serial.PortNotFound:
		return what("no such device (is it plugged in? %s)", whereToLook)
	case errors.Is(err, fs.ErrPermission), code == serial.PermissionDenied:
		return what("permission denied (%s)", whoMay(s.Path))
	case errors.Is(err, syscall.ENOTTY), errors.Is(err, syscall.EINVAL), code == serial.InvalidSerialPort:
		return what("not a serial port (%s)", whereToLook)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ENODEV):
		return what("there is no UART behind this name (%s)", whereToLook)
	}
	return what("%w", bare(err))
}

// bare is an error without the path that it repeats.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// claim opens a port exclusively and keeps it; the caller closes it. It makes the port raw.
func claim(path string) (serial.Port, error) {
	return serial.Open(path, &serial.Mode{BaudRate: int(uart.DefaultCoding().Baud), DataBits: 8})
}

const (
	// readWait is how long a read of the package takes at most: it cannot be woken but by closing.
	readWait = 20 * time.Millisecond
	// breakTime is how long a break is: the package does not know on and off.
	breakTime = 250 * time.Millisecond
)

// packaged is a tty by what the serial package can do, on every system.
type packaged struct {
	port serial.Port

	reading sync.Mutex  // over a read of the port: closing it, or emptying it, under one would hand the read to another
	stopped atomic.Bool // between stop and resume
}

const packagedMissing = "flow control, 1.5 stop bits on some systems, breaks longer or shorter than 250 ms, line errors, " +
	"when the transmitter is empty; modem lines are looked at each 20 ms"

// openPackaged is the way to a port where the system has none of its own.
func openPackaged(path string) (tty, error) {
	port, err := claim(path)
	if err != nil {
		return nil, err
	}
	if err := port.SetReadTimeout(readWait); err != nil {
		_ = port.Close()
		return nil, err
	}
	return &packaged{port: port}, nil
}

func (t *packaged) traits() traits { return traits{missing: packagedMissing} }

func (t *packaged) read(p []byte) (int, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	return t.port.Read(p)
}

func (t *packaged) wake() {} // read returns soon

func (t *packaged) write(p []byte) (int, error) {
	n, err := t.port.Write(p)
	if t.stopped.Load() {
		return n, errStopped
	}
	return n, err
}

func (t *packaged) stop() {
	t.stopped.Store(true)
	_ = t.port.ResetOutputBuffer() // which lets a blocked write go on; repeated until it has ended
}

func (t *packaged) resume() { t.stopped.Store(false) }

// apply sets field by field where all at once is refused, so that what can be done is. It has no flow control.
func (t *packaged) apply(e, before uart.Event) (uart.Event, error) {
	inForce := before
	if asked := e.Coding.Over(before.Coding); asked != before.Coding {
		for _, c := range []uart.Coding{
			asked,
			{Baud: e.Coding.Baud}, {DataBits: e.Coding.DataBits}, {Parity: e.Coding.Parity}, {StopBits: e.Coding.StopBits},
		} {
			if c = c.Over(inForce.Coding); t.port.SetMode(mode(c)) == nil {
				inForce.Coding = c
			}
			if inForce.Coding == asked {
				break
			}
		}
	}
	for _, line := range []struct {
		asked uart.Level
		now   *uart.Level
		set   func(bool) error
	}{{e.Control.DTR, &inForce.Control.DTR, t.port.SetDTR}, {e.Control.RTS, &inForce.Control.RTS, t.port.SetRTS}} {
		if line.asked != 0 {
			// Where there is no such line, it counts as set: clients refuse to work with a server that says no.
			_ = line.set(line.asked == uart.LevelOn)
			*line.now = line.asked
		}
	}
	if e.Control.Break == uart.LevelOn {
		if err := t.port.Break(breakTime); err != nil {
			return inForce, err
		}
	}
	return inForce, nil
}

// mode is a coding in the package's words.
func mode(c uart.Coding) *serial.Mode {
	m := &serial.Mode{BaudRate: int(c.Baud), DataBits: int(c.DataBits), Parity: serial.Parity(c.Parity - uart.ParityNone)}
	switch c.StopBits {
	case uart.Stop2:
		m.StopBits = serial.TwoStopBits
	case uart.Stop1Half:
		m.StopBits = serial.OnePointFiveStopBits
	}
	return m
}

func (t *packaged) modem() (uart.ModemState, bool) {
	bits, err := t.port.GetModemStatusBits()
	if err != nil {
		return noLines, false
	}
	var m uart.ModemState
	for _, line := range []struct {
		on   bool
		line uart.ModemState
	}{{bits.CTS, uart.CTS}, {bits.DSR, uart.DSR}, {bits.RI, uart.RI}, {bits.DCD, uart.DCD}} {
		if line.on {
			m |= line.line
		}
	}
	return m, true
}

func (t *packaged) counts() (counts, bool) { return counts{}, false }

func (t *packaged) queued() (n, more int) { return 0, anyMore }

func (t *packaged) flush(p uart.Purge) error {
	if p&uart.PurgeTx != 0 {
		if err := t.port.ResetOutputBuffer(); err != nil {
			return err
		}
	}
	if p&uart.PurgeRx == 0 {
		return nil
	}
	t.reading.Lock()
	defer t.reading.Unlock()
	return t.port.ResetInputBuffer()
}

func (t *packaged) close() error {
	_ = t.port.ResetOutputBuffer()
	_ = t.port.SetDTR(false)
	_ = t.port.SetRTS(false)
	t.reading.Lock()
	defer t.reading.Unlock()
	return t.port.Close()
}
