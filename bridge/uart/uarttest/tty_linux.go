package uarttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// TTY opens ttys of Linux: pty slaves, kernel ttys, real UARTs. It deliberately does not use bridge/termios; see the
// package comment.
type TTY struct{}

var _ Programs = TTY{}

// Path implements Programs: a path in a temporary directory of the test.
func (TTY) Path(t *testing.T) string { return filepath.Join(t.TempDir(), "ttyV0") }

// Open implements Programs.
func (TTY) Open(path string) (Program, error) { return OpenTTY(path) }

// TTYProgram is a program that has a tty open: reads and writes on its own descriptor, and the calls of termios. Its methods
// may be called from several goroutines.
type TTYProgram struct {
	file *os.File
	raw  syscall.RawConn

	mu     sync.Mutex // makes read-modify-write of the termios and of counts atomic
	counts icounter   // the driver's counters when the tty was opened
}

// OpenTTY opens a tty by its path, not as the controlling terminal.
func OpenTTY(path string) (*TTYProgram, error) {
	// Without O_NONBLOCK, so that the open may wait. The descriptor becomes nonblocking afterwards, so that deadlines and
	// Close end a read.
	var fd int
	err := uninterrupted(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	p := &TTYProgram{file: os.NewFile(uintptr(fd), path)}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, err
	}
	_ = p.control(func(fd int) error {
		p.counts, _ = getCounts(fd)
		return nil
	})
	return p, nil
}

// uninterrupted repeats a call that a signal has interrupted. Go's runtime sends its own threads SIGURG at any time, and
// the kernel does not restart some calls on a tty: TCSBRK (tty_io.c), TIOCMIWAIT.
func uninterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// control runs f with the descriptor.
func (p *TTYProgram) control(f func(fd int) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var inner error
	if err := p.raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func (p *TTYProgram) Read(b []byte) (int, error)  { return p.file.Read(b) }
func (p *TTYProgram) Write(b []byte) (int, error) { return p.file.Write(b) }

// Close implements Program. Idempotent.
func (p *TTYProgram) Close() error {
	if err := p.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Termios changes the termios with one TCSETS2.
func (p *TTYProgram) Termios(change func(*unix.Termios)) error {
	return p.control(func(fd int) error {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
		if err != nil {
			return fmt.Errorf("TCGETS2: %w", err)
		}
		change(t)
		if err := unix.IoctlSetTermios(fd, unix.TCSETS2, t); err != nil {
			return fmt.Errorf("TCSETS2: %w", err)
		}
		return nil
	})
}

// Set implements Program.
func (p *TTYProgram) Set(e uart.Event) error {
	if e.Coding != (uart.Coding{}) || e.Flow != (uart.Flow{}) {
		if err := p.Termios(func(t *unix.Termios) { setCoding(t, e.Coding); setFlow(t, e.Flow) }); err != nil {
			return err
		}
	}
	return p.control(func(fd int) error { return setControl(fd, e.Control) })
}

// setCoding sets the fields of c that are set. This file has its own translation to termios and does not use package
// termios: the hosts use that one, and a test that shared it could not detect its errors.
func setCoding(t *unix.Termios, c uart.Coding) {
	if c.Baud != 0 {
		t.Cflag = t.Cflag&^unix.CBAUD | unix.BOTHER
		t.Ispeed, t.Ospeed = c.Baud, c.Baud
	}
	if c.DataBits != 0 {
		sizes := [...]uint32{5: unix.CS5, 6: unix.CS6, 7: unix.CS7, 8: unix.CS8}
		t.Cflag = t.Cflag&^unix.CSIZE | sizes[c.DataBits]
	}
	if c.Parity != 0 {
		flags := map[uart.Parity]uint32{
			uart.ParityNone:  0,
			uart.ParityOdd:   unix.PARENB | unix.PARODD,
			uart.ParityEven:  unix.PARENB,
			uart.ParityMark:  unix.PARENB | unix.PARODD | unix.CMSPAR,
			uart.ParitySpace: unix.PARENB | unix.CMSPAR,
		}
		t.Cflag = t.Cflag&^(unix.PARENB|unix.PARODD|unix.CMSPAR) | flags[c.Parity]
	}
	switch c.StopBits {
	case uart.Stop1:
		t.Cflag &^= unix.CSTOPB
	case uart.Stop2, uart.Stop1Half:
		t.Cflag |= unix.CSTOPB
	}
}

// setFlow sets flow control, if f has any.
func setFlow(t *unix.Termios, f uart.Flow) {
	if f == (uart.Flow{}) {
		return
	}
	t.Cflag &^= unix.CRTSCTS
	t.Iflag &^= unix.IXON | unix.IXOFF
	if f.Out == uart.FlowRTSCTS {
		t.Cflag |= unix.CRTSCTS
	}
	if f.Out == uart.FlowXonXoff {
		t.Iflag |= unix.IXON
	}
	if f.In == uart.FlowXonXoff {
		t.Iflag |= unix.IXOFF
	}
}

// setControl drives the lines that c sets: DTR and RTS with one TIOCMSET.
func setControl(fd int, c uart.Control) error {
	if c.DTR != 0 || c.RTS != 0 {
		lines, err := unix.IoctlGetInt(fd, unix.TIOCMGET)
		if err != nil {
			return fmt.Errorf("TIOCMGET: %w", err)
		}
		for bit, level := range map[int]uart.Level{unix.TIOCM_DTR: c.DTR, unix.TIOCM_RTS: c.RTS} {
			switch level {
			case uart.LevelOn:
				lines |= bit
			case uart.LevelOff:
				lines &^= bit
			}
		}
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCMSET, lines); err != nil {
			return fmt.Errorf("TIOCMSET: %w", err)
		}
	}
	switch c.Break {
	case uart.LevelOn:
		return unix.IoctlSetInt(fd, unix.TIOCSBRK, 0)
	case uart.LevelOff:
		return unix.IoctlSetInt(fd, unix.TIOCCBRK, 0)
	}
	return nil
}

// HangUpOnClose implements HangUpper.
func (p *TTYProgram) HangUpOnClose(on bool) error {
	return p.Termios(func(t *unix.Termios) {
		t.Cflag &^= unix.HUPCL
		if on {
			t.Cflag |= unix.HUPCL
		}
	})
}

// Purge implements Program: tcflush.
func (p *TTYProgram) Purge(what uart.Purge) error {
	queue := map[uart.Purge]int{uart.PurgeRx: unix.TCIFLUSH, uart.PurgeTx: unix.TCOFLUSH, uart.PurgeBoth: unix.TCIOFLUSH}[what]
	return p.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, queue) })
}

// Drain implements Program: tcdrain, which is TCSBRK with an argument.
func (p *TTYProgram) Drain() error {
	return p.Wait(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCSBRK, 1) })
}

// Wait is Control for a call that may block: it does not hold mu, so that other calls can run meanwhile. It repeats the
// call after EINTR.
func (p *TTYProgram) Wait(f func(fd int) error) error {
	var inner error
	err := p.raw.Control(func(fd uintptr) { inner = uninterrupted(func() error { return f(int(fd)) }) })
	return errors.Join(err, inner)
}

// Modem implements Program: TIOCMGET.
func (p *TTYProgram) Modem() (m uart.ModemState, err error) {
	err = p.control(func(fd int) error {
		lines, err := unix.IoctlGetInt(fd, unix.TIOCMGET)
		for bit, line := range map[int]uart.ModemState{
			unix.TIOCM_CTS: uart.CTS, unix.TIOCM_DSR: uart.DSR, unix.TIOCM_RI: uart.RI, unix.TIOCM_CD: uart.DCD,
		} {
			if lines&bit != 0 {
				m |= line
			}
		}
		return err
	})
	return m, err
}

// Waiting returns how many bytes the program could read at once (TIOCINQ).
func (p *TTYProgram) Waiting() (n int, err error) {
	err = p.control(func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
		return err
	})
	return n, err
}

// LineErrors implements Program: TIOCGICOUNT, minus the counts at the open.
func (p *TTYProgram) LineErrors() (l uart.LineState, err error) {
	err = p.control(func(fd int) error {
		now, err := getCounts(fd)
		for i, state := range map[int]uart.LineState{
			countFrame: uart.LineFraming, countOverrun: uart.LineOverrun, countParity: uart.LineParity, countBreak: uart.LineBreak,
		} {
			if now[i] != p.counts[i] {
				l |= state
			}
		}
		return err
	})
	return l, err
}

// Control runs f with the program's descriptor, for a call that has no method here.
func (p *TTYProgram) Control(f func(fd int) error) error { return p.control(f) }
