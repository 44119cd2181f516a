//go:build darwin || freebsd

package demo

import (
	"os"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// set makes the port raw, with the baud rate and the stop bits of coding, and RTS/CTS if flow asks for it: what a
// pseudo-terminal carries.
func (t *tty) set(coding uart.Coding, flow uart.FlowMethod) error {
	tio, err := unix.IoctlGetTermios(t.fd, unix.TIOCGETA)
	if err != nil {
		return os.NewSyscallError("TIOCGETA", err)
	}
	tio.Iflag, tio.Oflag, tio.Lflag = 0, 0, 0
	tio.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.HUPCL
	if coding.StopBits == uart.Stop2 {
		tio.Cflag |= unix.CSTOPB
	}
	if flow == uart.FlowRTSCTS {
		tio.Cflag |= unix.CRTSCTS
	}
	setSpeed(&tio.Ispeed, &tio.Ospeed, coding.Baud)
	tio.Cc[unix.VMIN], tio.Cc[unix.VTIME] = 1, 0
	return os.NewSyscallError("TIOCSETA", unix.IoctlSetTermios(t.fd, unix.TIOCSETA, tio))
}

// setSpeed sets both speeds; their type differs between the systems.
func setSpeed[T uint32 | uint64](in, out *T, baud uint32) { *in, *out = T(baud), T(baud) }
