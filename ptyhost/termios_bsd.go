//go:build darwin || freebsd

package ptyhost

import (
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// decode reads what a pty's termios says of the line. B0 would drop DTR and RTS, which a pty has not: the baud rate is
// then not said.
func decode(t *unix.Termios) (settings, remarks) {
	s := settings{baud: uint32(t.Ospeed), stop: uart.Stop1, flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}
	if t.Cflag&unix.CSTOPB != 0 {
		s.stop = uart.Stop2
	}
	hard, soft := t.Cflag&unix.CRTSCTS != 0, t.Iflag&(unix.IXON|unix.IXOFF) != 0
	switch {
	case hard:
		s.flow = uart.Flow{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS}
	case soft:
		if t.Iflag&unix.IXON != 0 {
			s.flow.Out = uart.FlowXonXoff
		}
		if t.Iflag&unix.IXOFF != 0 {
			s.flow.In = uart.FlowXonXoff
		}
	}
	return s, remarks{splitSpeed: t.Ispeed != t.Ospeed && t.Ispeed != 0, bothFlows: hard && soft}
}

// getTermios returns the slave's termios; fd may be either end of the pty.
func getTermios(fd int) (*unix.Termios, error) { return unix.IoctlGetTermios(fd, unix.TIOCGETA) }

// raw is what a port starts with, made of a fresh pty's termios: firstSettings, raw, no echo.
func raw(fresh unix.Termios) *unix.Termios {
	fresh.Iflag, fresh.Oflag, fresh.Lflag = 0, 0, 0
	fresh.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.HUPCL
	fresh.Ispeed, fresh.Ospeed = 9600, 9600
	fresh.Cc[unix.VMIN], fresh.Cc[unix.VTIME] = 1, 0
	return &fresh
}
