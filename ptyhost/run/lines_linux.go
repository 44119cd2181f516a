//go:build amd64 || arm64

package run

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/bridge/uart"
)

// modemLines returns the state of all lines as TIOCMGET does; port.mu is held.
func (p *port) modemLines() (bits uint32) {
	bits = uint32(termios.ModemBits(p.line.modem))
	if p.line.dtr {
		bits |= unix.TIOCM_DTR
	}
	if p.line.rts {
		bits |= unix.TIOCM_RTS
	}
	return bits
}

// changeLines performs TIOCMSET, TIOCMBIS and TIOCMBIC: DTR and RTS change in one event. OUT1, OUT2 and the loop have
// no effect.
func (p *port) changeLines(c *call, request uint32) {
	arg := c.arg32()
	now := func() (dtr, rts bool) {
		bits := p.modemLines()
		switch request {
		case unix.TIOCMSET:
			bits = arg
		case unix.TIOCMBIS:
			bits |= arg
		case unix.TIOCMBIC:
			bits &^= arg
		}
		return bits&unix.TIOCM_DTR != 0, bits&unix.TIOCM_RTS != 0
	}
	set := func() {
		p.setLines(now())
		c.returnValue(0)
	}
	if change := p.lineChanges(now()); change != (uart.Control{}) {
		p.awaitRoom(c, uart.Event{Kind: uart.KindSettings, Control: change}, set)
		return
	}
	set()
}

// lineChanges returns what setting DTR and RTS to these levels changes; port.mu is held.
func (p *port) lineChanges(dtr, rts bool) (change uart.Control) {
	if dtr != p.line.dtr {
		change.DTR = uart.LevelOf(dtr)
	}
	if rts != p.line.rts {
		change.RTS = uart.LevelOf(rts)
	}
	return change
}

// setLines sets DTR and RTS; port.mu is held.
func (p *port) setLines(dtr, rts bool) {
	change := p.lineChanges(dtr, rts)
	p.line.dtr, p.line.rts = dtr, rts
	if change != (uart.Control{}) {
		p.addEvent(uart.Event{Kind: uart.KindSettings, Control: change})
	}
}

// breakChange is the beginning or the end of a break, for awaitRoom.
var breakChange = uart.Event{Kind: uart.KindSettings, Control: uart.Control{Break: uart.LevelOn}}

// setBreak begins or ends a break; port.mu is held.
func (p *port) setBreak(on bool) {
	if on == p.line.breaking {
		return
	}
	p.line.breaking = on
	p.addEvent(uart.Event{Kind: uart.KindSettings, Control: uart.Control{Break: uart.LevelOf(on)}})
}

// roomTimeout is how long a call waits for room while too many changes wait for the remote. Only tests change it.
var roomTimeout = 30 * time.Second

// roomPoll is how often such a call checks whether there is still a session.
const roomPoll = 100 * time.Millisecond

// awaitRoom calls then, with port.mu held, when the queue has room for a change such as e. Until then the call waits,
// as in a driver whose UART is slow, but no longer than roomTimeout. It does not wait if there is no session to take
// anything; nor if nothing was taken for roomTimeout since a call began to wait, be it another call or this one before
// a signal made the kernel restart it. In these cases the queue merges changes, and counts them.
func (p *port) awaitRoom(c *call, e uart.Event, then func()) {
	if !p.up.queue.Full(e) {
		then()
		return
	}
	end := time.Now().Add(roomTimeout)
	p.awaitThen(c, func() bool {
		if !p.up.queue.Full(e) || p.config.Unsent().Left < 0 {
			return true
		}
		if p.up.blockedSince.IsZero() {
			p.up.blockedSince = time.Now()
		}
		left := min(time.Until(end), time.Until(p.up.blockedSince.Add(roomTimeout)))
		p.wait.recheckAfter = min(left, roomPoll)
		return left <= 0
	}, then)
}

// awaitLineChange performs TIOCMIWAIT: the call returns when one of the lines in mask has changed.
func (p *port) awaitLineChange(c *call, mask uint64) {
	before, over := p.line.counts, false
	p.await(c, func() bool {
		over = p.ended
		return over ||
			mask&unix.TIOCM_CTS != 0 && p.line.counts.cts != before.cts ||
			mask&unix.TIOCM_DSR != 0 && p.line.counts.dsr != before.dsr ||
			mask&unix.TIOCM_RNG != 0 && p.line.counts.ri != before.ri ||
			mask&unix.TIOCM_CAR != 0 && p.line.counts.dcd != before.dcd
	}, func(errno unix.Errno) {
		if errno == 0 && over {
			errno = unix.EIO
		}
		c.finish(errno)
	})
}

// setSoftCarrier performs TIOCSSOFTCAR, which sets CLOCAL.
func (p *port) setSoftCarrier(c *call) {
	t := p.line.termios
	t.Cflag &^= unix.CLOCAL
	if c.arg32() != 0 {
		t.Cflag |= unix.CLOCAL
	}
	p.setTermios(t)
	c.returnValue(0)
}

// deferResult32 is deferResult for an int; arg32 is the argument, if it is an int.
func (c *call) deferResult32(address uint64, value uint32) {
	c.deferResult(address, binary.NativeEndian.AppendUint32(nil, value))
}

func (c *call) arg32() uint32 { return binary.NativeEndian.Uint32(c.memory.arg) }
