package serialport

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// termios returns what is in force, with exact speeds (TCGETS2).
func (t *linuxTTY) termios() (tio *unix.Termios, err error) {
	err = t.control(func(fd int) error {
		tio, err = unix.IoctlGetTermios(fd, unix.TCGETS2)
		return err
	})
	return tio, err
}

// apply sets coding and flow control in one step, DTR and RTS in another, and reads back what came of it.
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
		inForce.Control.DTR = uart.LevelOf(bits&unix.TIOCM_DTR != 0)
		inForce.Control.RTS = uart.LevelOf(bits&unix.TIOCM_RTS != 0)
	}
	return inForce, nil
}

// setTermios asks for a coding and a flow control, and returns what the driver has made of them: it changes what it
// cannot do (termios(3): tcsetattr succeeds when any change could be made).
func (t *linuxTTY) setTermios(c uart.Coding, f uart.Flow) (uart.Coding, uart.Flow, error) {
	tio, err := t.termios()
	if err != nil {
		return c, f, err
	}
	before := *tio
	encode(tio, c, f, t.can.marks)
	err = t.control(func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS2, tio) })
	if err == nil {
		tio, err = t.termios()
	} else if err == unix.EINVAL {
		tio, err = &before, nil
	}
	if err != nil {
		return c, f, err
	}
	c, f = decodeTermios(tio, c.StopBits)
	return c, f, nil
}

// dataSizes are the values of CSIZE for 5 to 8 data bits.
var dataSizes = [...]uint32{unix.CS5, unix.CS6, unix.CS7, unix.CS8}

// encode writes a coding and a flow control into a termios, with everything else that a port needs. What Linux cannot do
// (1.5 stop bits but with 5 data bits, DCD, DSR and DTR as flow control) is left as it is.
func encode(tio *unix.Termios, c uart.Coding, f uart.Flow, marks bool) {
	tio.Iflag &= unix.IXON | unix.IXOFF
	if marks {
		tio.Iflag |= unix.PARMRK | unix.INPCK // errors and breaks stand in the data; INPCK looks for parity errors
	}
	tio.Oflag, tio.Lflag = 0, 0
	tio.Cc[unix.VMIN], tio.Cc[unix.VTIME] = 1, 0
	tio.Cc[unix.VSTART], tio.Cc[unix.VSTOP] = 0x11, 0x13

	cflag := unix.CREAD | unix.CLOCAL | unix.HUPCL | rate(c.Baud) | tio.Cflag&(unix.CSTOPB|unix.CRTSCTS|unix.CSIZE)
	tio.Ispeed, tio.Ospeed = c.Baud, c.Baud // CIBAUD is B0: input as output
	if c.DataBits >= 5 && c.DataBits <= 8 {
		cflag = cflag&^unix.CSIZE | dataSizes[c.DataBits-5]
	}
	switch c.Parity {
	case uart.ParityOdd:
		cflag |= unix.PARENB | unix.PARODD
	case uart.ParityEven:
		cflag |= unix.PARENB
	case uart.ParityMark:
		cflag |= unix.PARENB | unix.CMSPAR | unix.PARODD
	case uart.ParitySpace:
		cflag |= unix.PARENB | unix.CMSPAR
	}
	switch {
	case c.StopBits == uart.Stop1:
		cflag &^= unix.CSTOPB
	case c.StopBits == uart.Stop2, c.StopBits == uart.Stop1Half && c.DataBits == 5:
		cflag |= unix.CSTOPB // with 5 data bits most UARTs make 1.5 of it
	}
	encodeFlow(tio, &cflag, f)
	tio.Cflag = cflag
}

// encodeFlow: CRTSCTS is both ways, XON/XOFF one by one.
func encodeFlow(tio *unix.Termios, cflag *uint32, f uart.Flow) {
	if f.Out <= uart.FlowRTSCTS && f.In <= uart.FlowRTSCTS {
		*cflag &^= unix.CRTSCTS
		if f.Out == uart.FlowRTSCTS || f.In == uart.FlowRTSCTS {
			*cflag |= unix.CRTSCTS
		}
	}
	if f.Out <= uart.FlowRTSCTS {
		tio.Iflag &^= unix.IXON
		if f.Out == uart.FlowXonXoff {
			tio.Iflag |= unix.IXON
		}
	}
	if f.In <= uart.FlowRTSCTS {
		tio.Iflag &^= unix.IXOFF
		if f.In == uart.FlowXonXoff {
			tio.Iflag |= unix.IXOFF
		}
	}
}

// decodeTermios is what a termios says. 5 data bits with CSTOPB are 1.5 or 2 stop bits, whichever was asked for: the
// hardware decides.
func decodeTermios(tio *unix.Termios, asked uart.StopBits) (uart.Coding, uart.Flow) {
	c := uart.Coding{Baud: tio.Ospeed, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}
	for i, size := range dataSizes {
		if tio.Cflag&unix.CSIZE == size {
			c.DataBits = uint8(5 + i)
		}
	}
	if tio.Cflag&unix.PARENB != 0 {
		c.Parity = uart.ParityEven
		switch tio.Cflag & (unix.CMSPAR | unix.PARODD) {
		case unix.PARODD:
			c.Parity = uart.ParityOdd
		case unix.CMSPAR:
			c.Parity = uart.ParitySpace
		case unix.CMSPAR | unix.PARODD:
			c.Parity = uart.ParityMark
		}
	}
	if tio.Cflag&unix.CSTOPB != 0 {
		c.StopBits = uart.Stop2
		if c.DataBits == 5 && asked == uart.Stop1Half {
			c.StopBits = uart.Stop1Half
		}
	}
	f := uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}
	if tio.Cflag&unix.CRTSCTS != 0 {
		f = uart.Flow{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS}
	}
	if tio.Iflag&unix.IXON != 0 {
		f.Out = uart.FlowXonXoff
	}
	if tio.Iflag&unix.IXOFF != 0 {
		f.In = uart.FlowXonXoff
	}
	return c, f
}

// lines are the modem lines as TIOCMGET has them.
func (t *linuxTTY) lines() (bits int, err error) {
	err = t.control(func(fd int) error {
		bits, err = unix.IoctlGetInt(fd, unix.TIOCMGET)
		return err
	})
	return bits, err
}

// setLines drives DTR and RTS in one step: the reset of an ESP32 depends on it. Where there are no such lines, nothing
// is done: they count as set, for clients refuse to work with a server that says no.
func (t *linuxTTY) setLines(c uart.Control) error {
	if !t.hasLines || c.DTR == 0 && c.RTS == 0 {
		return nil
	}
	bits, err := t.lines()
	if err != nil {
		return err
	}
	for _, line := range []struct {
		level uart.Level
		bit   int
	}{{c.DTR, unix.TIOCM_DTR}, {c.RTS, unix.TIOCM_RTS}} {
		switch line.level {
		case uart.LevelOn:
			bits |= line.bit
		case uart.LevelOff:
			bits &^= line.bit
		}
	}
	return t.control(func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCMSET, bits) })
}

// setBreak begins or ends a break. A driver that cannot do it says nothing that a client could use.
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

// lineStatus is TIOCSERGETLSR: TIOCSER_TEMT or not. Few drivers but those of built-in UARTs have it.
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

// serialCounts is TIOCGICOUNT. It asks the driver, not the hardware.
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
