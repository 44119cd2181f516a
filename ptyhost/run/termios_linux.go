//go:build amd64 || arm64

package run

import (
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
)

// The port's termios, as the programs see it, is kept here: a pty forces 8 data bits without parity and would tell so.
// What of it is the line discipline's (canonical mode, echo, VMIN...) is given to the pty; what is a UART's driver's is
// done here.

// hidden are the input flags that the pty does not get. They say what becomes of bytes with errors and of bytes that look
// like their marks, which the line discipline of a pty cannot know; see receive.
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
	t := unix.Termios{Cc: characters}
	termios.Reset(&t)
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
