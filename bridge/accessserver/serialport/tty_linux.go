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

// portsHint is how a user finds the right name.
const portsHint = "ls /dev/serial/by-id lists the USB adapters, ls /dev/ttyS* the built-in ports"

// namesAreFiles reports whether a port's name is a file that os.Stat can find.
const namesAreFiles = true

// linuxTTY is a tty through a file descriptor of its own, opened before the serial library opens the port exclusively. The
// library only makes the port raw, and restores it at the end. It has no flow control, no break of any length, no counters,
// cannot set DTR and RTS in one step, and cannot be closed while a write blocks; and after a purge its Close waits for a read
// until the next byte comes. So everything else uses the descriptor.
type linuxTTY struct {
	file    *os.File // nonblocking: it waits in Go's poller, so that deadlines and Close end a read or write
	raw     syscall.RawConn
	library io.Closer

	// What the driver can do, as inspect found. Constant after that.
	can       traits
	hasLines  bool // TIOCMGET works
	hasCounts bool // TIOCGICOUNT works
	hasLSR    bool // TIOCSERGETLSR works
	hardware  int  // bytes that may be in the hardware when the driver's buffer is empty
}

// chipBuffer is an estimate of the bytes in a USB adapter that does not report them: the usual ones have buffers of 128 to
// 512 bytes; the largest common one (FT2232H), 4096. They leave at the speed of the line.
const chipBuffer = 512

func openTTY(path string) (tty, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	t := &linuxTTY{file: os.NewFile(uintptr(fd), path)}
	if err := t.lock(path); err != nil {
		_ = t.file.Close()
		return nil, err
	}
	t.inspect()
	return t, nil
}

// lock makes the port exclusive: by flock, which some programs check (picocom, pyserial, ser2net) and which also works
// against root, and by TIOCEXCL, which the library sets and which keeps all other users from opening it.
func (t *linuxTTY) lock(path string) error {
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
	t.library, err = openLibrary(path)
	return err
}

// inspect determines what the driver can do.
func (t *linuxTTY) inspect() {
	_, err := t.lines()
	t.hasLines = err == nil
	_, err = t.serialCounts()
	t.hasCounts = err == nil
	// A pty has no line errors, and the program at its other end may switch PARMRK off.
	t.can.parmrk = t.hasLines || t.hasCounts
	_, err = t.lineStatus()
	t.hasLSR = err == nil
	switch {
	case !t.hasLines && !t.hasCounts: // a pty or a similar device: bytes need no time on a line
		t.can.missing = "modem lines (DTR and RTS are reported as requested), line errors, break; on a pty also data bits and parity"
	case t.hasLSR:
	case t.hasCounts:
		t.hardware = chipBuffer
		t.can.missing = "the exact moment when the transmitter becomes empty (it is estimated)"
	default:
		t.hardware = chipBuffer
		t.can.missing = "the kind of line errors, overruns, the exact moment when the transmitter becomes empty (it is estimated)"
	}
}

// control runs f with the file descriptor, which stays open during the call.
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
		// wake was called. Its callers first set what the caller of read is to check, so no wake is lost here.
		return n, t.file.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, io.EOF) {
		err = unix.EIO // a read of a tty that was hung up returns 0 (tty_io.c, hung_up_tty_read)
	}
	return n, withoutPath(err)
}

func (t *linuxTTY) wake() { _ = t.file.SetReadDeadline(time.Unix(1, 0)) }

func (t *linuxTTY) write(p []byte) (int, error) {
	n, err := t.file.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStopped
	}
	return n, withoutPath(err)
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

// close drops what was not sent before it closes the port: the last close would wait for it, up to 30 s (closing_wait in
// setserial(8)).
func (t *linuxTTY) close() error {
	_ = t.flush(uart.PurgeTx)
	_ = t.setBreak(uart.LevelOff)
	_ = t.setLines(uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff})
	err := t.library.Close()
	return errors.Join(err, t.file.Close())
}
