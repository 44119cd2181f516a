package serialport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/bridge/uart"
)

// whereToLook tells how to find the right name.
const whereToLook = "ls /dev/serial/by-id names the adapters that are, ls /dev/ttyS* the built-in ports"

// namesAreFiles: a port can be looked at without opening it.
const namesAreFiles = true

// linuxTTY is a tty through a descriptor of our own, opened before the package takes the port exclusively. The package
// makes it raw, takes it and gives it back. It cannot do flow control, a break of the client's length, DTR and RTS in one
// step, counters, nor be closed while a write waits for the device; and a read of it that a purge has left without bytes
// holds up its Close until the next byte. So all the rest goes this way.
type linuxTTY struct {
	file *os.File // nonblocking, waits in Go's poller, so that deadlines and Close end a read or write
	raw  syscall.RawConn
	held io.Closer // the package's
	can  traits

	hasLines  bool // TIOCMGET works
	hasCounts bool // TIOCGICOUNT works
	hasLSR    bool // TIOCSERGETLSR works
	hardware  int  // bytes that may be in the hardware when the driver's buffer is empty
}

// chipBuffer is how many bytes a USB adapter holds that does not tell: the largest common one (FT2232H) has 4096, the
// usual ones 128 to 512. They are reckoned to leave at the speed of the line.
const chipBuffer = 512

func openTTY(path string) (tty, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	t := &linuxTTY{file: os.NewFile(uintptr(fd), path)}
	if err := t.take(path); err != nil {
		_ = t.file.Close()
		return nil, err
	}
	t.look()
	return t, nil
}

// take makes the port ours alone: flock for programs that ask so (picocom, pyserial, ser2net), which holds for root too,
// and through the package TIOCEXCL for everybody else.
func (t *linuxTTY) take(path string) error {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	t.raw = raw
	if _, err := t.getTermios(); err != nil {
		return err
	}
	if err := t.control(func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errInUse
		}
		return fmt.Errorf("flock: %w", err)
	}
	t.held, err = claim(path)
	return err
}

// look finds out what the driver can do.
func (t *linuxTTY) look() {
	_, err := t.lines()
	t.hasLines = err == nil
	_, err = t.serialCounts()
	t.hasCounts = err == nil
	// A pty has no errors to mark, and whoever holds its other end may undo PARMRK.
	t.can.marks = t.hasLines || t.hasCounts
	_, err = t.lineStatus()
	t.hasLSR = err == nil
	switch {
	case !t.hasLines && !t.hasCounts: // a pty, or a gadget like it: no line behind it that would take time
		t.can.missing = "modem lines (DTR and RTS are answered as asked for), line errors, break; on a pty data bits and parity"
	case t.hasLSR:
	case t.hasCounts:
		t.hardware = chipBuffer
		t.can.missing = "exactly when the transmitter is empty: it is reckoned"
	default:
		t.hardware = chipBuffer
		t.can.missing = "the kind of line errors, overruns, exactly when the transmitter is empty: it is reckoned"
	}
}

// control runs f with the descriptor, which stays open meanwhile.
func (t *linuxTTY) control(f func(fd int) error) (err error) {
	if outer := t.raw.Control(func(fd uintptr) { err = f(int(fd)) }); outer != nil {
		return outer
	}
	return err
}

func (t *linuxTTY) traits() traits { return t.can }

func (t *linuxTTY) read(p []byte) (int, error) {
	n, err := t.file.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// Who calls wake has said before why: the caller looks at that before it reads again.
		return n, t.file.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, io.EOF) {
		err = unix.EIO // a tty that was hung up reads as ended (tty_io.c, hung_up_tty_read)
	}
	return n, bare(err)
}

func (t *linuxTTY) wake() { _ = t.file.SetReadDeadline(time.Unix(1, 0)) }

func (t *linuxTTY) write(p []byte) (int, error) {
	n, err := t.file.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStopped
	}
	return n, bare(err)
}

func (t *linuxTTY) stop() { _ = t.file.SetWriteDeadline(time.Unix(1, 0)) }

func (t *linuxTTY) resume() { _ = t.file.SetWriteDeadline(time.Time{}) }

func (t *linuxTTY) modem() (uart.ModemState, bool) {
	if !t.hasLines {
		return noLines, false
	}
	bits, err := t.lines()
	if err != nil {
		return 0, false
	}
	return termios.ModemState(bits), true
}

func (t *linuxTTY) counts() (counts, bool) {
	if !t.hasCounts {
		return counts{}, false
	}
	c, err := t.serialCounts()
	return c, err == nil
}

func (t *linuxTTY) queued() (n, more int) {
	_ = t.control(func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.TIOCOUTQ)
		return err
	})
	if !t.hasLSR {
		return n, t.hardware
	}
	if status, err := t.lineStatus(); n == 0 && err == nil && status&unix.TIOCSER_TEMT == 0 {
		n = 1
	}
	return n, 0
}

func (t *linuxTTY) flush(p uart.Purge) error {
	queue, ok := termios.Queue(p)
	if !ok {
		return nil
	}
	return t.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, queue) })
}

// close gives the port back. What was not sent is dropped first: the last close of a port waits for it, 30 s long
// (closing_wait, setserial(8)).
func (t *linuxTTY) close() error {
	_ = t.flush(uart.PurgeTx)
	_ = t.setBreak(uart.LevelOff)
	_ = t.setLines(uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff})
	err := t.held.Close()
	return errors.Join(err, t.file.Close())
}
