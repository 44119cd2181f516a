//go:build amd64 || arm64

package run

import "golang.org/x/sys/unix"

// What TIOCGSERIAL tells of a UART that is not here: a 16550A with the clock of an FTDI adapter, whose divisors reach every
// usual rate.
const (
	uartType = 4 // PORT_16550A
	uartFIFO = 16
	baudBase = 24_000_000
)

// serialInfo is what TIOCSSERIAL can change. It outlives the opens, as a driver's does.
type serialInfo struct {
	divisor int32 // custom_divisor
	flags   int32
	// In hundredths of a second. close_delay keeps an open out that waits for the carrier, and closing_wait is how long a
	// close waits for its bytes; 65535: not at all. A close of this port waits for nothing, and what was written is sent all
	// the same, so both are kept and told, and change nothing.
	closeDelay, closingWait uint16
}

// firstSerialInfo is what a driver begins with: tty_port_init.
func firstSerialInfo() serialInfo { return serialInfo{closeDelay: 50, closingWait: 3000} }

// Flags of linux/tty_flags.h that every program may change. The speeds stand for the rate of B38400.
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

// serial is the beginning of struct serial_struct, which all systems have alike; behind it come addresses of no use here,
// of which a narrow system has shorter ones.
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

// serial is what TIOCGSERIAL tells; the lock is held.
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

// setSerial performs TIOCSSERIAL: what every program may change is taken, another change is refused to a program without
// privileges. A privileged one may say anything, and what belongs to hardware that is not here, as its interrupt, is passed
// over: the manner of usb-serial.c.
func (p *port) setSerial(c *call) {
	var said serialStruct
	copy(bytesOf(&said), c.memory.arg)
	may := int32(allFlags)
	if !hasSysAdmin(c.n.TID) {
		may = userFlags
	}
	want := p.serialStruct()
	want.Flags = want.Flags&^may | said.Flags&may
	want.Divisor = said.Divisor
	switch {
	case may == allFlags:
		want.CloseDelay, want.CloseWait = said.CloseDelay, said.CloseWait
	case said != want:
		c.fail(unix.EPERM)
		return
	}
	p.line.serial = serialInfo{want.Divisor, want.Flags, want.CloseDelay, want.CloseWait}
	p.sendLine()
	c.returnValue(0)
}

// oddRate is what B38400 stands for: the way to other rates before there was BOTHER.
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
