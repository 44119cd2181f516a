//go:build amd64 || arm64

package run

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/bridge/uart"
)

// lines is the state of all lines, as TIOCMGET tells it; the lock is held.
func (p *port) lines() (bits uint32) {
	bits = uint32(termios.ModemBits(p.modem))
	if p.dtr {
		bits |= unix.TIOCM_DTR
	}
	if p.rts {
		bits |= unix.TIOCM_RTS
	}
	return bits
}

// changeLines performs TIOCMSET, TIOCMBIS and TIOCMBIC: DTR and RTS by one event. OUT1, OUT2 and the loop are not wired.
func (p *port) changeLines(c *call, request uint32) {
	said := c.said32()
	now := func() (dtr, rts bool) {
		bits := p.lines()
		switch request {
		case unix.TIOCMSET:
			bits = said
		case unix.TIOCMBIS:
			bits |= said
		case unix.TIOCMBIC:
			bits &^= said
		}
		return bits&unix.TIOCM_DTR != 0, bits&unix.TIOCM_RTS != 0
	}
	set := func() {
		p.drive(now())
		c.answer(0)
	}
	if change := p.edges(now()); change != (uart.Control{}) {
		p.whenRoom(c, uart.Event{Kind: uart.KindSettings, Control: change}, set)
		return
	}
	set()
}

// edges is what changes with DTR and RTS like this; the lock is held.
func (p *port) edges(dtr, rts bool) (change uart.Control) {
	if dtr != p.dtr {
		change.DTR = uart.LevelOf(dtr)
	}
	if rts != p.rts {
		change.RTS = uart.LevelOf(rts)
	}
	return change
}

// drive sets DTR and RTS; the lock is held.
func (p *port) drive(dtr, rts bool) {
	change := p.edges(dtr, rts)
	p.dtr, p.rts = dtr, rts
	if change != (uart.Control{}) {
		p.add(uart.Event{Kind: uart.KindSettings, Control: change})
	}
}

// breakEdge is the beginning or the end of a break, for whenRoom.
var breakEdge = uart.Event{Kind: uart.KindSettings, Control: uart.Control{Break: uart.LevelOn}}

// sendBreak begins or ends a break; the lock is held.
func (p *port) sendBreak(on bool) {
	if on == p.breaking {
		return
	}
	p.breaking = on
	p.add(uart.Event{Kind: uart.KindSettings, Control: uart.Control{Break: uart.LevelOf(on)}})
}

// holdMost is how long a call is held while too many changes wait for the remote. Only a test changes it.
var holdMost = 30 * time.Second

// holdPause is how often it is asked meanwhile whether there is a session that anything is waited for.
const holdPause = 100 * time.Millisecond

// whenRoom calls then, under the lock, when there is room for a change such as e among those that wait for the remote: the
// call is held as by a driver whose UART is slow, for holdMost at most. Nobody is held where no byte is waited for, because
// there is no session; nor where nothing was taken for holdMost since a call was held, be it another, or this one before a
// signal let the kernel begin it again. Then the queue merges what it must, and counts it.
func (p *port) whenRoom(c *call, e uart.Event, then func()) {
	if !p.queue.Full(e) {
		then()
		return
	}
	end := time.Now().Add(holdMost)
	p.when(c, func() bool {
		if !p.queue.Full(e) || p.config.Unsent().Left < 0 {
			return true
		}
		if p.held.IsZero() {
			p.held = time.Now()
		}
		left := min(time.Until(end), time.Until(p.held.Add(holdMost)))
		p.again = min(left, holdPause)
		return left <= 0
	}, then)
}

// waitForLines performs TIOCMIWAIT: it is answered when one of the lines has changed.
func (p *port) waitForLines(c *call, mask uint64) {
	before, over := p.counts, false
	p.later(c, func() bool {
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
func (p *port) setSoftCarrier(c *call) {
	t := p.termios
	t.Cflag &^= unix.CLOCAL
	if c.said32() != 0 {
		t.Cflag |= unix.CLOCAL
	}
	p.setTermios(t)
	c.answer(0)
}

// give32 is gives of an int, and said32 what was said where that is one.
func (c *call) give32(address uint64, value uint32) {
	c.gives(address, binary.NativeEndian.AppendUint32(nil, value))
}

func (c *call) said32() uint32 { return binary.NativeEndian.Uint32(c.said) }
