//go:build amd64 || arm64

package run

import "golang.org/x/sys/unix"

// What TIOCGSERIAL reports of a UART that is not here: a 16550A with the clock of an FTDI adapter, whose divisors reach
// every usual rate.
const (
	uartType = 4 // PORT_16550A
	uartFIFO = 16
	baudBase = 24_000_000
)

// serialInfo is what TIOCSSERIAL can change. It survives the last close, as in a driver.
type serialInfo struct {
	divisor int32 // custom_divisor
	flags   int32
	// In hundredths of a second. In a driver, close_delay delays an open that waits for the carrier, and closing_wait
	// is how long a close waits for its bytes; 65535: it does not wait. Here a close never waits, and what was written
	// is sent nevertheless, so both are stored and reported, and have no effect.
	closeDelay, closingWait uint16
}

// firstSerialInfo is the initial state in a driver: tty_port_init in drivers/tty/tty_port.c.
func firstSerialInfo() serialInfo { return serialInfo{closeDelay: 50, closingWait: 3000} }

// Flags of linux/tty_flags.h that every program may change. The speed flags give B38400 another meaning.
const (
	spdHigh     = 0x0010
	spdVeryHigh = 0x0020
	spdCustom   = spdHigh | spdVeryHigh
	spdShi      = 0x1000
	spdWarp     = spdShi | spdHigh
	spdMask     = 0x1030
	userFlags   = spdMask | 0x0400 | 0x2000 // callout_nohup, low_latency
	allFlags    = 0x7fff                    // ASYNC_FLAGS: a privileged program
)

// serialStruct is the beginning of struct serial_struct, the same in all ABIs. After it come addresses that are of no
// use here, which are shorter in 32-bit ABIs.
type serialStruct struct {
	Type, Line       int32
	Port             uint32
	IRQ, Flags       int32
	FIFO             int32
	Divisor          int32
	BaudBase         int32
	CloseDelay       uint16
	IOType, Reserved uint8
	Hub6             int32
	CloseWait, Wait2 uint16
}

const (
	serialSize       = 72 // of struct serial_struct
	serialSizeNarrow = 60
)

// serialStruct returns what TIOCGSERIAL reports; port.mu is held.
func (p *port) serialStruct() serialStruct {
	return serialStruct{
		Type: uartType, Flags: p.line.serial.flags, FIFO: uartFIFO, Divisor: p.line.serial.divisor, BaudBase: baudBase,
		CloseDelay: p.line.serial.closeDelay, CloseWait: p.line.serial.closingWait,
	}
}

func (p *port) getSerial(c *call, arg uint64) {
	var whole [serialSize]byte
	now := p.serialStruct()
	copy(whole[:], bytesOf(&now))
	size := serialSize
	if c.abi.narrow || c.x32() {
		size = serialSizeNarrow
	}
	c.deferResult(arg, whole[:size])
}

// setSerial performs TIOCSSERIAL as drivers/usb/serial does: a program without privileges may change the flags of
// userFlags and the divisor, and any other change fails. With privileges everything is accepted, and what belongs to
// hardware that is not here, such as the interrupt, is ignored.
func (p *port) setSerial(c *call) {
	var asked serialStruct
	copy(bytesOf(&asked), c.memory.arg)
	may := int32(allFlags)
	if !hasSysAdmin(c.n.TID) {
		may = userFlags
	}
	want := p.serialStruct()
	want.Flags = want.Flags&^may | asked.Flags&may
	want.Divisor = asked.Divisor
	switch {
	case may == allFlags:
		want.CloseDelay, want.CloseWait = asked.CloseDelay, asked.CloseWait
	case asked != want:
		c.fail(unix.EPERM)
		return
	}
	p.line.serial = serialInfo{want.Divisor, want.Flags, want.CloseDelay, want.CloseWait}
	p.sendLine()
	c.returnValue(0)
}

// b38400Rate returns the rate that B38400 stands for: how other rates were set before BOTHER.

func (p *port) b38400Rate() uint32 {
	if p.line.termios.Cflag&unix.CBAUD != unix.B38400 {
		return p.line.termios.Ospeed
	}
	switch p.line.serial.flags & spdMask {
	case spdHigh:
		return 57600
	case spdVeryHigh:
		return 115200
	case spdShi:
		return 230400
	case spdWarp:
		return 460800
	case spdCustom:
		if p.line.serial.divisor > 0 {
			return uint32((baudBase + p.line.serial.divisor/2) / p.line.serial.divisor)
		}
	}
	return 38400
}
