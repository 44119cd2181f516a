package demo

import (
	"os"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// set makes the port raw, with the baud rate and the stop bits of coding, and RTS/CTS if flow asks for it: what a
// pseudo-terminal carries.
func (t *tty) set(coding uart.Coding, flow uart.FlowMethod) error {
	tio, err := unix.IoctlGetTermios(t.fd, unix.TCGETS2)
	if err != nil {
		return os.NewSyscallError("TCGETS2", err)
	}
	tio.Iflag, tio.Oflag, tio.Lflag = 0, 0, 0
	tio.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.HUPCL | unix.BOTHER
	if coding.StopBits == uart.Stop2 {
		tio.Cflag |= unix.CSTOPB
	}
	if flow == uart.FlowRTSCTS {
		tio.Cflag |= unix.CRTSCTS
	}
	tio.Ispeed, tio.Ospeed = coding.Baud, coding.Baud
	tio.Cc[unix.VMIN], tio.Cc[unix.VTIME] = 1, 0
	return os.NewSyscallError("TCSETS2", unix.IoctlSetTermios(t.fd, unix.TCSETS2, tio))
}
