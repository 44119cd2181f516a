//go:build linux || darwin || freebsd

package termios

import (
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// codingBits are the bits of c_cflag that hold data bits, parity and stop bits.
const codingBits = unix.CSIZE | unix.PARENB | unix.PARODD | cmspar | unix.CSTOPB

// Coding returns the line coding of t. Baud is the output speed; 0: B0, or a speed that the system does not report. t
// must have been read with Get, or completed by FillSpeeds.
func Coding(t *unix.Termios) uart.Coding {
	c := uart.Coding{
		Baud:     uint32(t.Ospeed),
		DataBits: 5 + uint8(t.Cflag&unix.CSIZE/unix.CS6), // CS5 is 0, CS6 the unit
		Parity:   uart.ParityNone,
		StopBits: uart.Stop1,
	}
	odd, stick := t.Cflag&unix.PARODD != 0, t.Cflag&cmspar != 0
	switch {
	case t.Cflag&unix.PARENB == 0:
	case odd && stick:
		c.Parity = uart.ParityMark
	case stick:
		c.Parity = uart.ParitySpace
	case odd:
		c.Parity = uart.ParityOdd
	default:
		c.Parity = uart.ParityEven
	}
	if t.Cflag&unix.CSTOPB != 0 {
		c.StopBits = uart.Stop2
	}
	return c
}

// CodingAfter returns the coding of t after a request for asked: CSTOPB with 5 data bits counts as 1.5 stop bits if
// those were requested.
func CodingAfter(t *unix.Termios, asked uart.Coding) uart.Coding {
	c := Coding(t)
	if c.StopBits == uart.Stop2 && c.DataBits == 5 && asked.StopBits == uart.Stop1Half {
		c.StopBits = uart.Stop1Half
	}
	return c
}

// SetCoding applies the fields that c sets. What termios cannot express stays as it is: 1.5 stop bits unless there are
// 5 data bits and, on macOS and FreeBSD, mark and space parity.
func SetCoding(t *unix.Termios, c uart.Coding) {
	if c.Baud != 0 {
		setBaud(t, c.Baud)
	}
	switch c.DataBits {
	case 5:
		t.Cflag = t.Cflag&^unix.CSIZE | unix.CS5
	case 6:
		t.Cflag = t.Cflag&^unix.CSIZE | unix.CS6
	case 7:
		t.Cflag = t.Cflag&^unix.CSIZE | unix.CS7
	case 8:
		t.Cflag = t.Cflag&^unix.CSIZE | unix.CS8
	}
	const parity = unix.PARENB | unix.PARODD | cmspar
	switch {
	case c.Parity == uart.ParityNone:
		t.Cflag &^= parity
	case c.Parity == uart.ParityOdd:
		t.Cflag = t.Cflag&^parity | unix.PARENB | unix.PARODD
	case c.Parity == uart.ParityEven:
		t.Cflag = t.Cflag&^parity | unix.PARENB
	case c.Parity == uart.ParityMark && cmspar != 0:
		t.Cflag = t.Cflag&^parity | unix.PARENB | unix.PARODD | cmspar
	case c.Parity == uart.ParitySpace && cmspar != 0:
		t.Cflag = t.Cflag&^parity | unix.PARENB | cmspar
	}
	switch {
	case c.StopBits == uart.Stop1:
		t.Cflag &^= unix.CSTOPB
	case c.StopBits == uart.Stop2, c.StopBits == uart.Stop1Half && t.Cflag&unix.CSIZE == unix.CS5:
		t.Cflag |= unix.CSTOPB
	}
}

// Flow returns the flow control of t: CRTSCTS wins over IXON and IXOFF.
func Flow(t *unix.Termios) uart.Flow {
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

// SetFlow applies the directions that f sets. A method that termios does not have (DCD, DTR, DSR) leaves its direction
// unchanged. RTS/CTS in one direction is RTS/CTS in both.
func SetFlow(t *unix.Termios, f uart.Flow) {
	now := Flow(t)
	if f.Out == 0 || f.Out > uart.FlowRTSCTS {
		f.Out = now.Out
	}
	if f.In == 0 || f.In > uart.FlowRTSCTS {
		f.In = now.In
	}
	t.Cflag &^= unix.CRTSCTS
	t.Iflag &^= unix.IXON | unix.IXOFF
	if f.Out == uart.FlowRTSCTS || f.In == uart.FlowRTSCTS {
		t.Cflag |= unix.CRTSCTS
		return
	}
	if f.Out == uart.FlowXonXoff {
		t.Iflag |= unix.IXON
	}
	if f.In == uart.FlowXonXoff {
		t.Iflag |= unix.IXOFF
	}
}

// BothFlows reports whether t asks for RTS/CTS and XON/XOFF at once.
func BothFlows(t *unix.Termios) bool {
	return t.Cflag&unix.CRTSCTS != 0 && t.Iflag&(unix.IXON|unix.IXOFF) != 0
}

// SplitSpeed reports whether the input speed of t is set and differs from the output speed.
func SplitSpeed(t *unix.Termios) bool { return t.Ispeed != t.Ospeed && t.Ispeed != 0 }

// MakeRaw turns off all processing of bytes and signals by the line discipline, as cfmakeraw(3) does, and keeps line
// coding and flow control. The receiver is on (CREAD), the carrier is ignored (CLOCAL), the last close lowers DTR
// (HUPCL), and a read returns as soon as there is one byte (VMIN 1, VTIME 0).
func MakeRaw(t *unix.Termios) {
	t.Iflag &= unix.IXON | unix.IXOFF
	t.Oflag, t.Lflag = 0, 0
	t.Cflag &= speedBits | codingBits | unix.CRTSCTS
	t.Cflag |= unix.CREAD | unix.CLOCAL | unix.HUPCL
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
}

// Reset sets t to a new port's settings: raw, uart.DefaultCoding, no flow control.
func Reset(t *unix.Termios) {
	MakeRaw(t)
	SetCoding(t, uart.DefaultCoding())
	SetFlow(t, uart.Flow{Out: uart.FlowNone, In: uart.FlowNone})
}

// modemBits are the lines that the device drives, in the bits of TIOCMGET (ioctl_tty(2)).
var modemBits = [...]struct {
	line uart.ModemState
	bit  int
}{{uart.CTS, unix.TIOCM_CTS}, {uart.DSR, unix.TIOCM_DSR}, {uart.RI, unix.TIOCM_RNG}, {uart.DCD, unix.TIOCM_CAR}}

// ModemState returns the lines that the device drives from the bits of TIOCMGET.
func ModemState(bits int) (m uart.ModemState) {
	for _, l := range modemBits {
		if bits&l.bit != 0 {
			m |= l.line
		}
	}
	return m
}

// ModemBits is the inverse of ModemState.
func ModemBits(m uart.ModemState) (bits int) {
	for _, l := range modemBits {
		if m&l.line != 0 {
			bits |= l.bit
		}
	}
	return bits
}

// Control returns DTR and RTS from the bits of TIOCMGET. Break stays unset: TIOCMGET has no bit for it.
func Control(bits int) uart.Control {
	return uart.Control{DTR: uart.LevelOf(bits&unix.TIOCM_DTR != 0), RTS: uart.LevelOf(bits&unix.TIOCM_RTS != 0)}
}

// SetControl returns bits, for TIOCMSET, changed by the lines that c sets. It ignores Break.
func SetControl(bits int, c uart.Control) int {
	set := func(level uart.Level, bit int) {
		switch level {
		case uart.LevelOn:
			bits |= bit
		case uart.LevelOff:
			bits &^= bit
		}
	}
	set(c.DTR, unix.TIOCM_DTR)
	set(c.RTS, unix.TIOCM_RTS)
	return bits
}

// Purge returns the purge that tcflush(3) performs for its queue selector: TCIFLUSH, TCOFLUSH or TCIOFLUSH. ok is false
// for any other number.
func Purge(queue int) (p uart.Purge, ok bool) {
	switch queue {
	case unix.TCIFLUSH:
		return uart.PurgeRx, true
	case unix.TCOFLUSH:
		return uart.PurgeTx, true
	case unix.TCIOFLUSH:
		return uart.PurgeBoth, true
	}
	return 0, false
}

// Queue is the inverse of Purge. ok is false if p is none of the three purges.
func Queue(p uart.Purge) (queue int, ok bool) {
	switch p {
	case uart.PurgeRx:
		return unix.TCIFLUSH, true
	case uart.PurgeTx:
		return unix.TCOFLUSH, true
	case uart.PurgeBoth:
		return unix.TCIOFLUSH, true
	}
	return 0, false
}
