//go:build amd64 || arm64

package run

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// modemBits are the lines that the device drives, as TIOCMGET has them.
var modemBits = map[uart.ModemState]uint32{
	uart.CTS: unix.TIOCM_CTS, uart.DSR: unix.TIOCM_DSR, uart.RI: unix.TIOCM_RNG, uart.DCD: unix.TIOCM_CAR,
}

// lines is the state of all lines, as TIOCMGET tells it; the lock is held.
func (p *port) lines() (bits uint32) {
	for line, bit := range modemBits {
		if p.modem&line != 0 {
			bits |= bit
		}
	}
	if p.dtr {
		bits |= unix.TIOCM_DTR
	}
	if p.rts {
		bits |= unix.TIOCM_RTS
	}
	return bits
}

// changeLines performs TIOCMSET, TIOCMBIS and TIOCMBIC: DTR and RTS by one event. OUT1, OUT2 and the loop are not wired.
func (p *port) changeLines(c *call, request uint32, arg uint64) {
	said, ok := c.take32(arg)
	if !ok {
		return
	}
	now := p.lines()
	switch request {
	case unix.TIOCMSET:
		now = said
	case unix.TIOCMBIS:
		now |= said
	case unix.TIOCMBIC:
		now &^= said
	}
	p.drive(now&unix.TIOCM_DTR != 0, now&unix.TIOCM_RTS != 0)
	c.answer(0)
}

// waitForLines performs TIOCMIWAIT: it is answered when one of the lines has changed.
func (p *port) waitForLines(c *call, mask uint64) {
	before, over := p.counts, false
	p.later(c, restarts, func() bool {
		over = p.ended
		return over ||
			mask&unix.TIOCM_CTS != 0 && p.counts.cts != before.cts ||
			mask&unix.TIOCM_DSR != 0 && p.counts.dsr != before.dsr ||
			mask&unix.TIOCM_RNG != 0 && p.counts.ri != before.ri ||
			mask&unix.TIOCM_CAR != 0 && p.counts.dcd != before.dcd
	}, func(errno unix.Errno) {
		if errno == 0 && over {
			errno = unix.EIO
		}
		c.conclude(errno)
	})
}

// setSoftCarrier performs TIOCSSOFTCAR: CLOCAL by another name.
func (p *port) setSoftCarrier(c *call, arg uint64) {
	on, ok := c.take32(arg)
	if !ok {
		return
	}
	t := p.termios
	t.Cflag &^= unix.CLOCAL
	if on != 0 {
		t.Cflag |= unix.CLOCAL
	}
	p.setTermios(t)
	c.answer(0)
}

// What TIOCGSERIAL tells of a UART that is not here: a 16550A with the clock of an FTDI adapter, whose divisors reach every
// usual rate.
const (
	uartType   = 4 // PORT_16550A
	uartFIFO   = 16
	baudBase   = 24_000_000
	closeDelay = 50   // hundredths of a second
	closeWait  = 3000 // likewise
)

// Flags of linux/tty_flags.h that every program may change. The speeds stand for the rate of B38400.
const (
	spdHigh     = 0x0010
	spdVeryHigh = 0x0020
	spdCustom   = spdHigh | spdVeryHigh
	spdShi      = 0x1000
	spdWarp     = spdShi | spdHigh
	spdMask     = 0x1030
	userFlags   = spdMask | 0x0400 | 0x2000 // callout_nohup, low_latency
)

// serial is the beginning of struct serial_struct, which all systems have alike; behind it come addresses of no use here,
// of which a narrow system has shorter ones.
type serial struct {
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
func (p *port) serial() serial {
	return serial{
		Type: uartType, Flags: p.flags, FIFO: uartFIFO, Divisor: p.divisor, BaudBase: baudBase,
		CloseDelay: closeDelay, CloseWait: closeWait,
	}
}

func (p *port) getSerial(c *call, arg uint64) {
	var whole [serialSize]byte
	now := p.serial()
	copy(whole[:], bytesOf(&now))
	size := serialSize
	if c.abi.narrow || c.x32() {
		size = serialSizeNarrow
	}
	c.give(arg, whole[:size])
}

// setSerial performs TIOCSSERIAL: what every program may change is taken, another change is refused as to a program
// without privileges.
func (p *port) setSerial(c *call, arg uint64) {
	var said serial
	if !c.take(arg, bytesOf(&said)) {
		return
	}
	want := p.serial()
	want.Flags = want.Flags&^userFlags | said.Flags&userFlags
	want.Divisor = said.Divisor
	if said != want {
		c.fail(unix.EPERM)
		return
	}
	p.flags, p.divisor = want.Flags, want.Divisor
	p.tellLine()
	c.answer(0)
}

// oddRate is what B38400 stands for: the way to other rates before there was BOTHER.
func (p *port) oddRate() uint32 {
	if p.termios.Cflag&unix.CBAUD != unix.B38400 {
		return p.termios.Ospeed
	}
	switch p.flags & spdMask {
	case spdHigh:
		return 57600
	case spdVeryHigh:
		return 115200
	case spdShi:
		return 230400
	case spdWarp:
		return 460800
	case spdCustom:
		if p.divisor > 0 {
			return uint32((baudBase + p.divisor/2) / p.divisor)
		}
	}
	return 38400
}

// give32 and take32 are give and take of an int.
func (c *call) give32(address uint64, value uint32) {
	c.give(address, binary.NativeEndian.AppendUint32(nil, value))
}

func (c *call) take32(address uint64) (value uint32, ok bool) {
	var b [4]byte
	ok = c.take(address, b[:])
	return binary.NativeEndian.Uint32(b[:]), ok
}
