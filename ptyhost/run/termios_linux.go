//go:build amd64 || arm64

package run

import (
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// The port's termios, as the programs see it, is kept here: a pty forces 8 data bits without parity and would tell so.
// What of it is the line discipline's (canonical mode, echo, VMIN...) is given to the pty; what is a UART's driver's is
// done here.

// hidden are the input flags that the pty does not get. They say what becomes of bytes with errors and of bytes that
// look like their marks, which the line discipline of a pty cannot know; see receive.
const hidden = unix.IGNBRK | unix.BRKINT | unix.IGNPAR | unix.PARMRK | unix.INPCK | unix.ISTRIP

// onPty is what of a termios the pty gets.
func onPty(t unix.Termios) unix.Termios {
	t.Iflag &^= hidden
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CREAD
	return t
}

// firstTermios is what a port starts with: 9600 8N1, raw, no echo, no flow control; the special characters are those of
// the pty.
func firstTermios(characters [19]uint8) unix.Termios {
	t := unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.CLOCAL | unix.HUPCL | unix.B9600, Cc: characters, Ispeed: 9600, Ospeed: 9600}
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return t
}

// The forms in which a termios passes an ioctl. All systems of one machine have the same ones.
const (
	form1   = 36 // struct termios of the kernel: TCGETS
	form2   = 44 // struct termios2: TCGETS2
	formOld = 18 // struct termio: TCGETA
)

// termio is the oldest form.
type termio struct {
	Iflag, Oflag, Cflag, Lflag uint16
	Line                       uint8
	Cc                         [8]uint8
	_                          uint8
}

// encodeOld writes a termios in the oldest form, which has the lower half of each flag word.
func encodeOld(t *unix.Termios) termio {
	o := termio{Iflag: uint16(t.Iflag), Oflag: uint16(t.Oflag), Cflag: uint16(t.Cflag), Lflag: uint16(t.Lflag), Line: t.Line}
	copy(o.Cc[:], t.Cc[:])
	return o
}

// decodeOld changes of t what the oldest form has.
func decodeOld(t *unix.Termios, o termio) {
	low := func(now uint32, said uint16) uint32 { return now&^0xffff | uint32(said) }
	t.Iflag, t.Oflag = low(t.Iflag, o.Iflag), low(t.Oflag, o.Oflag)
	t.Cflag, t.Lflag = low(t.Cflag, o.Cflag), low(t.Lflag, o.Lflag)
	t.Line = o.Line
	copy(t.Cc[:], o.Cc[:])
}

// rates are the speeds of termios.h.
var rates = map[uint32]uint32{
	unix.B0: 0, unix.B50: 50, unix.B75: 75, unix.B110: 110, unix.B134: 134, unix.B150: 150, unix.B200: 200, unix.B300: 300,
	unix.B600: 600, unix.B1200: 1200, unix.B1800: 1800, unix.B2400: 2400, unix.B4800: 4800, unix.B9600: 9600,
	unix.B19200: 19200, unix.B38400: 38400, unix.B57600: 57600, unix.B115200: 115200, unix.B230400: 230400,
	unix.B460800: 460800, unix.B500000: 500000, unix.B576000: 576000, unix.B921600: 921600, unix.B1000000: 1000000,
	unix.B1152000: 1152000, unix.B1500000: 1500000, unix.B2000000: 2000000, unix.B2500000: 2500000,
	unix.B3000000: 3000000, unix.B3500000: 3500000, unix.B4000000: 4000000,
}

// inputShift is where the input speed stands in c_cflag: IBSHIFT of termbits.h.
const inputShift = 16

// setSpeeds makes both numbers what the flags say, as the kernel does at each tcsetattr.
func setSpeeds(t *unix.Termios) {
	if code := t.Cflag & unix.CBAUD; code != unix.BOTHER {
		t.Ospeed = rates[code]
	}
	switch code := t.Cflag >> inputShift & unix.CBAUD; code {
	case unix.B0:
		t.Ispeed = t.Ospeed
	case unix.BOTHER:
	default:
		t.Ispeed = rates[code]
	}
}

// sizes are the data bits of CSIZE.
var sizes = map[uint32]uint8{unix.CS5: 5, unix.CS6: 6, unix.CS7: 7, unix.CS8: 8}

// codingOf is the line coding of a termios. Baud is 0 for B0. Two stop bits of five data bits are 1.5 on a 16550:
// termios cannot say which, and 2 is what other UARTs make of it.
func codingOf(t *unix.Termios) uart.Coding {
	c := uart.Coding{Baud: t.Ospeed, DataBits: sizes[t.Cflag&unix.CSIZE], Parity: uart.ParityNone, StopBits: uart.Stop1}
	if t.Cflag&unix.CSTOPB != 0 {
		c.StopBits = uart.Stop2
	}
	switch t.Cflag & (unix.PARENB | unix.PARODD | unix.CMSPAR) {
	case unix.PARENB:
		c.Parity = uart.ParityEven
	case unix.PARENB | unix.PARODD:
		c.Parity = uart.ParityOdd
	case unix.PARENB | unix.CMSPAR:
		c.Parity = uart.ParitySpace
	case unix.PARENB | unix.PARODD | unix.CMSPAR:
		c.Parity = uart.ParityMark
	}
	return c
}

// flowOf is the flow control of a termios: RTS/CTS wins over XON/XOFF.
func flowOf(t *unix.Termios) uart.Flow {
	if t.Cflag&unix.CRTSCTS != 0 {
		return uart.Flow{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS}
	}
	f := uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}
	if t.Iflag&unix.IXON != 0 {
		f.Out = uart.FlowXonXoff
	}
	if t.Iflag&unix.IXOFF != 0 {
		f.In = uart.FlowXonXoff
	}
	return f
}
