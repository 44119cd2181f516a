package serialport

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/bridge/uart"
)

// getTermios returns the current termios, with exact speeds.
func (t *linuxTTY) getTermios() (tio *unix.Termios, err error) {
	err = t.control(func(fd int) error {
		tio, err = unix.IoctlGetTermios(fd, termios.Get)
		return err
	})
	return tio, err
}

// apply sets coding and flow control in one step, DTR and RTS in another, and reads the resulting settings back.
func (t *linuxTTY) apply(e, before uart.Event) (inForce uart.Event, err error) {
	inForce = uart.Event{Kind: uart.KindSettings, Coding: before.Coding, Flow: before.Flow, Control: before.Control}
	if e.Coding != (uart.Coding{}) || e.Flow != (uart.Flow{}) {
		if inForce.Coding, inForce.Flow, err = t.setTermios(e.Coding.Over(before.Coding), e.Flow.Over(before.Flow)); err != nil {
			return before, err
		}
	}
	if err := t.setLines(e.Control); err != nil {
		return inForce, err
	}
	if err := t.setBreak(e.Control.Break); err != nil {
		return inForce, err
	}
	inForce.Control = e.Control.Over(before.Control)
	if bits, err := t.lines(); t.hasLines && err == nil {
		inForce.Control = termios.Control(bits).Over(inForce.Control)
	}
	return inForce, nil
}

// setTermios requests a coding and a flow control, and returns the resulting ones: the driver changes what it cannot do
// (termios(3): tcsetattr succeeds when any change could be made).
func (t *linuxTTY) setTermios(c uart.Coding, f uart.Flow) (uart.Coding, uart.Flow, error) {
	tio, err := t.getTermios()
	if err != nil {
		return c, f, err
	}
	before := *tio
	encode(tio, c, f, t.can.parmrk)
	err = t.control(func(fd int) error { return unix.IoctlSetTermios(fd, termios.Set, tio) })
	if err == nil {
		tio, err = t.getTermios()
	} else if err == unix.EINVAL {
		tio, err = &before, nil
	}
	if err != nil {
		return c, f, err
	}
	return termios.CodingAfter(tio, c), termios.Flow(tio), nil
}

// encode sets, in tio, a coding and a flow control, and everything else that a port needs. What Linux cannot do (1.5 stop
// bits with other than 5 data bits; DCD, DSR and DTR as flow control) is left as it is.
func encode(tio *unix.Termios, c uart.Coding, f uart.Flow, parmrk bool) {
	termios.MakeRaw(tio)
	if parmrk {
		tio.Iflag |= unix.PARMRK | unix.INPCK // errors and breaks are in the data; INPCK checks parity
	}
	tio.Cc[unix.VSTART], tio.Cc[unix.VSTOP] = 0x11, 0x13
	termios.SetCoding(tio, c)
	termios.SetFlow(tio, f)
}

// lines returns the bits of TIOCMGET.
func (t *linuxTTY) lines() (bits int, err error) {
	err = t.control(func(fd int) error {
		bits, err = unix.IoctlGetInt(fd, unix.TIOCMGET)
		return err
	})
	return bits, err
}

// setLines sets DTR and RTS in one step: the reset of an ESP32 depends on it. Without such lines it does nothing and they
// count as set, because clients refuse to work with a server that reports a failure.
func (t *linuxTTY) setLines(c uart.Control) error {
	if !t.hasLines || c.DTR == 0 && c.RTS == 0 {
		return nil
	}
	bits, err := t.lines()
	if err != nil {
		return err
	}
	return t.control(func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCMSET, termios.SetControl(bits, c)) })
}

// setBreak begins or ends a break. It ignores a driver's refusal: a client could do nothing about it.
func (t *linuxTTY) setBreak(l uart.Level) error {
	req := map[uart.Level]uint{uart.LevelOn: unix.TIOCSBRK, uart.LevelOff: unix.TIOCCBRK}[l]
	if req == 0 {
		return nil
	}
	err := t.control(func(fd int) error { return unix.IoctlSetInt(fd, req, 0) })
	if err == unix.EIO || err == unix.ENODEV {
		return err
	}
	return nil
}

// lineStatus returns TIOCSERGETLSR: TIOCSER_TEMT or 0. Few drivers have it, mostly those of built-in UARTs.
func (t *linuxTTY) lineStatus() (status int, err error) {
	err = t.control(func(fd int) error {
		status, err = unix.IoctlGetInt(fd, unix.TIOCSERGETLSR)
		return err
	})
	return status, err
}

// icounter is struct serial_icounter_struct of linux/serial.h.
type icounter struct {
	cts, dsr, rng, dcd, rx, tx, frame, overrun, parity, brk, bufOverrun int32
	_                                                                   [9]int32
}

// serialCounts returns the driver's counters (TIOCGICOUNT). It does not reach the hardware.
func (t *linuxTTY) serialCounts() (c counts, err error) {
	var i icounter
	err = t.control(func(fd int) error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGICOUNT, uintptr(unsafe.Pointer(&i)))
		if errno != 0 {
			return errno
		}
		return nil
	})
	return counts{
		cts: i.cts, dsr: i.dsr, ri: i.rng, dcd: i.dcd,
		frame: i.frame, parity: i.parity, brk: i.brk, overrun: i.overrun, bufOverrun: i.bufOverrun,
	}, err
}
