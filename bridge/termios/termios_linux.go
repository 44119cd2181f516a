package termios

import "golang.org/x/sys/unix"

// The ioctls that read and set a termios with its speeds as numbers (termios2, ioctl_tty(2)). Set takes effect at once,
// as TCSANOW does.
const (
	Get = unix.TCGETS2
	Set = unix.TCSETS2
)

// cmspar selects mark or space parity instead of odd or even.
const cmspar = unix.CMSPAR

// inputShift is the position of the input speed's code in c_cflag: IBSHIFT of asm-generic/termbits.h.
const inputShift = 16

// speedBits are the bits of c_cflag that hold the two speeds' codes: CBAUD and CIBAUD.
const speedBits = unix.CBAUD | unix.CBAUD<<inputShift

// setBaud sets the output speed; the input speed is the same (CIBAUD B0). A rate that has a code gets it, because programs
// whose C library does not know BOTHER read the code back; BOTHER means that c_ispeed and c_ospeed hold the rate
// (ioctl_tty(2)).
func setBaud(t *unix.Termios, baud uint32) {
	t.Cflag &^= speedBits
	if code, ok := codes[baud]; ok {
		t.Cflag |= code
	} else {
		t.Cflag |= unix.BOTHER
	}
	t.Ispeed, t.Ospeed = baud, baud
}

// FillSpeeds sets Ispeed and Ospeed to the rates that the codes in c_cflag mean, as the kernel does for each tcsetattr
// (tty_termios_baud_rate and tty_termios_input_baud_rate of tty_baudrate.c). With BOTHER the number is valid already.
// An undefined code yields 0, as B0 does.
func FillSpeeds(t *unix.Termios) {
	if code := t.Cflag & unix.CBAUD; code != unix.BOTHER {
		t.Ospeed = rates[code]
	}
	switch code := t.Cflag >> inputShift & unix.CBAUD; code {
	case unix.B0: // as the output
		t.Ispeed = t.Ospeed
	case unix.BOTHER:
	default:
		t.Ispeed = rates[code]
	}
}

// rates are the baud rates that have a code in c_cflag (termios(3)). B0 means hang up, not a rate.
var rates = map[uint32]uint32{
	unix.B50: 50, unix.B75: 75, unix.B110: 110, unix.B134: 134, unix.B150: 150, unix.B200: 200, unix.B300: 300,
	unix.B600: 600, unix.B1200: 1200, unix.B1800: 1800, unix.B2400: 2400, unix.B4800: 4800, unix.B9600: 9600,
	unix.B19200: 19200, unix.B38400: 38400, unix.B57600: 57600, unix.B115200: 115200, unix.B230400: 230400,
	unix.B460800: 460800, unix.B500000: 500000, unix.B576000: 576000, unix.B921600: 921600, unix.B1000000: 1000000,
	unix.B1152000: 1152000, unix.B1500000: 1500000, unix.B2000000: 2000000, unix.B2500000: 2500000,
	unix.B3000000: 3000000, unix.B3500000: 3500000, unix.B4000000: 4000000,
}

// codes is the inverse of rates.
var codes = func() map[uint32]uint32 {
	m := make(map[uint32]uint32, len(rates))
	for code, rate := range rates {
		m[rate] = code
	}
	return m
}()
