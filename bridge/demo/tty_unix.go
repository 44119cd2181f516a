//go:build linux || darwin || freebsd

package demo

import (
	"os"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/bridge/uart"
)

// example is a command that a user can try; %s is the port.
const example = "picocom -b 19200 %s"

// tty is a serial port as an application has it open.
type tty struct {
	*os.File
	fd int
}

// openTTY opens a serial port's device as an application does.
func openTTY(name string) (*tty, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return &tty{os.NewFile(uintptr(fd), name), fd}, nil
}

// set makes the port raw, with the baud rate and the stop bits of coding and with flow in both directions: what a
// pseudo-terminal carries.
func (t *tty) set(coding uart.Coding, flow uart.FlowMethod) error {
	tio, err := unix.IoctlGetTermios(t.fd, termios.Get)
	if err != nil {
		return os.NewSyscallError("tcgetattr", err)
	}
	termios.Reset(tio)
	termios.SetCoding(tio, uart.Coding{Baud: coding.Baud, StopBits: coding.StopBits})
	termios.SetFlow(tio, uart.Flow{Out: flow, In: flow})
	return os.NewSyscallError("tcsetattr", unix.IoctlSetTermios(t.fd, termios.Set, tio))
}
