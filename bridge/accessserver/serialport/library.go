package serialport

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.bug.st/serial"

	"telnetcpc/bridge/uart"
)

const (
	// libraryReadTime is how long a read by the library takes at most: only closing the port ends it earlier.
	libraryReadTime = 20 * time.Millisecond
	// libraryBreakTime is the length of every break: the library cannot switch one on and off.
	libraryBreakTime = 250 * time.Millisecond
)

var libraryMissing = fmt.Sprintf("flow control, 1.5 stop bits on some systems, breaks that are not %v long, line errors, "+
	"the exact moment when the transmitter becomes empty; modem lines are polled every %v", libraryBreakTime, linesEvery)

// openLibrary opens a port exclusively and makes it raw. The caller closes it.
func openLibrary(path string) (serial.Port, error) {
	port, err := serial.Open(path, &serial.Mode{BaudRate: int(uart.DefaultCoding().Baud), DataBits: 8})
	var coded *serial.PortError
	if !errors.As(err, &coded) {
		return port, err
	}
	switch coded.Code() {
	case serial.PortBusy:
		return nil, errInUse
	case serial.PortNotFound:
		return nil, fs.ErrNotExist
	case serial.PermissionDenied:
		return nil, fs.ErrPermission
	case serial.InvalidSerialPort:
		return nil, syscall.ENOTTY
	}
	return nil, err
}

// libraryTTY is a tty that can do only what the serial library can, for systems that have no implementation of their own.
type libraryTTY struct {
	port    serial.Port
	reading sync.Mutex  // held during a read, so that the port is not closed or flushed meanwhile
	stopped atomic.Bool // between stop and resume
}

func openLibraryTTY(path string) (tty, error) {
	port, err := openLibrary(path)
	if err != nil {
		return nil, err
	}
	if err := port.SetReadTimeout(libraryReadTime); err != nil {
		_ = port.Close()
		return nil, err
	}
	return &libraryTTY{port: port}, nil
}

func (t *libraryTTY) traits() traits { return traits{missing: libraryMissing} }

func (t *libraryTTY) read(p []byte) (int, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	return t.port.Read(p)
}

func (t *libraryTTY) wake() {} // read returns within libraryReadTime

func (t *libraryTTY) write(p []byte) (int, error) {
	n, err := t.port.Write(p)
	if t.stopped.Load() {
		return n, errStopped
	}
	return n, err
}

func (t *libraryTTY) stop() {
	t.stopped.Store(true)
	_ = t.port.ResetOutputBuffer() // a blocked write then continues; the caller repeats this until the write has ended
}

func (t *libraryTTY) resume() { t.stopped.Store(false) }

// apply sets field by field if the driver refuses them together, so that it does what it can. There is no flow control.
func (t *libraryTTY) apply(e, before uart.Event) (uart.Event, error) {
	inForce := before
	if asked := e.Coding.Over(before.Coding); asked != before.Coding {
		for _, c := range []uart.Coding{
			asked,
			{Baud: e.Coding.Baud}, {DataBits: e.Coding.DataBits}, {Parity: e.Coding.Parity}, {StopBits: e.Coding.StopBits},
		} {
			if c = c.Over(inForce.Coding); t.port.SetMode(libraryMode(c)) == nil {
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
			// Without such a line it counts as set all the same: clients refuse to work with a server that reports a failure.
			_ = line.set(line.asked == uart.LevelOn)
			*line.now = line.asked
		}
	}
	if e.Control.Break == uart.LevelOn {
		if err := t.port.Break(libraryBreakTime); err != nil {
			return inForce, err
		}
	}
	return inForce, nil
}

func libraryMode(c uart.Coding) *serial.Mode {
	m := &serial.Mode{BaudRate: int(c.Baud), DataBits: int(c.DataBits), Parity: serial.Parity(c.Parity - uart.ParityNone)}
	switch c.StopBits {
	case uart.Stop2:
		m.StopBits = serial.TwoStopBits
	case uart.Stop1Half:
		m.StopBits = serial.OnePointFiveStopBits
	}
	return m
}

func (t *libraryTTY) modem() (uart.ModemState, bool) {
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

func (t *libraryTTY) counts() (counts, bool) { return counts{}, false }

func (t *libraryTTY) queued() (n, more int) { return 0, unknownQueue }

func (t *libraryTTY) flush(p uart.Purge) error {
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

func (t *libraryTTY) close() error {
	_ = t.port.ResetOutputBuffer()
	_ = t.port.SetDTR(false)
	_ = t.port.SetRTS(false)
	t.reading.Lock()
	defer t.reading.Unlock()
	return t.port.Close()
}
