package ptyhost

import (
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// decode reads what a pty's termios says of the line. Data bits and parity say nothing: the kernel forces CS8 and
// clears PARENB (pty_set_termios). B0 would drop DTR and RTS, which a pty has not: the baud rate is then not said.
func decode(t *unix.Termios) (settings, remarks) {
	s := settings{baud: t.Ospeed, stop: uart.Stop1, flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}
	if t.Cflag&unix.CSTOPB != 0 {
		s.stop = uart.Stop2
	}
	soft := t.Iflag&(unix.IXON|unix.IXOFF) != 0
	if t.Cflag&unix.CRTSCTS != 0 {
		s.flow = uart.Flow{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS}
		soft = false
	}
	if soft && t.Iflag&unix.IXON != 0 {
		s.flow.Out = uart.FlowXonXoff
	}
	if soft && t.Iflag&unix.IXOFF != 0 {
		s.flow.In = uart.FlowXonXoff
	}
	return s, remarks{
		splitSpeed: t.Ispeed != t.Ospeed && t.Ispeed != 0,
		bothFlows:  t.Cflag&unix.CRTSCTS != 0 && t.Iflag&(unix.IXON|unix.IXOFF) != 0,
	}
}
