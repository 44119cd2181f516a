//go:build amd64 || arm64

package run

import (
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
)

// The port's termios, as the programs see it, is kept here, because a pty forces 8 data bits without parity and reports
// that. What belongs to the line discipline (canonical mode, echo, VMIN ...) is passed to the pty; what belongs to a UART's
// driver is done here.

// hidden are the input flags that the pty does not get. They are about bytes with errors, and bytes that must be escaped,
// which the line discipline of a pty cannot know: see applyInputFlags.
const hidden = unix.IGNBRK | unix.BRKINT | unix.IGNPAR | unix.PARMRK | unix.INPCK | unix.ISTRIP

// onPty returns the part of a termios that the pty gets.
func onPty(t unix.Termios) unix.Termios {
	t.Iflag &^= hidden
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CREAD
	return t
}

// firstTermios returns a port's initial termios: 9600 8N1, raw, no echo, no flow control, and the pty's special characters.
func firstTermios(characters [19]uint8) unix.Termios {
	t := unix.Termios{Cc: characters}
	termios.Reset(&t)
	return t
}

// Sizes of the structures in which ioctls pass a termios. They are the same in all ABIs of a machine.
const (
	termiosSize  = 36 // struct termios of the kernel: TCGETS
	termios2Size = 44 // struct termios2: TCGETS2
	termioSize   = 18 // struct termio: TCGETA
)

// termio is struct termio, the oldest form.
type termio struct {
	Iflag, Oflag, Cflag, Lflag uint16
	Line                       uint8
	Cc                         [8]uint8
	_                          uint8
}

// toTermio converts a termios to the oldest form, which has the lower half of each flag word.
func toTermio(t *unix.Termios) termio {
	o := termio{Iflag: uint16(t.Iflag), Oflag: uint16(t.Oflag), Cflag: uint16(t.Cflag), Lflag: uint16(t.Lflag), Line: t.Line}
	copy(o.Cc[:], t.Cc[:])
	return o
}

// setTermio sets those parts of t that the oldest form has.
func setTermio(t *unix.Termios, o termio) {
	low := func(now uint32, half uint16) uint32 { return now&^0xffff | uint32(half) }
	t.Iflag, t.Oflag = low(t.Iflag, o.Iflag), low(t.Oflag, o.Oflag)
	t.Cflag, t.Lflag = low(t.Cflag, o.Cflag), low(t.Lflag, o.Lflag)
	t.Line = o.Line
	copy(t.Cc[:], o.Cc[:])
}
