//go:build amd64 || arm64

package run

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/bridge/uart"
)

// The ioctls of programs on the port. Each behaves as in a serial driver of the kernel:
// drivers/tty/serial/serial_core.c, drivers/tty/tty_io.c, drivers/tty/tty_ioctl.c; ioctl_tty(2).

// ioctl performs an ioctl through a descriptor of this slave.
func (p *port) ioctl(c *call, slave fileID) {
	if c.fetchArg() {
		p.perform(c, slave)
		c.deliverResult()
	}
}

// perform is ioctl between reading the argument and writing the result.
func (p *port) perform(c *call, slave fileID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || slave != p.id { // closed, or hung up since
		c.fail(unix.EIO)
		return
	}
	if !p.opens.hadSlave && !p.term.Unused() { // opened unseen, such as a descriptor received from another program
		p.noteUnseenOpen()
	}
	request, arg := uint32(c.n.Data.Args[1]), c.n.Data.Args[2]
	switch request {
	case unix.TCGETS, unix.TCGETS2, unix.TCGETA:
		p.getTermios(c, request, arg)
	case unix.TCSETS, unix.TCSETS2, unix.TCSETA:
		p.performSetTermios(c, structSize(request), false, false)
	case unix.TCSETSW, unix.TCSETSW2, unix.TCSETAW:
		p.performSetTermios(c, structSize(request), true, false)
	case unix.TCSETSF, unix.TCSETSF2, unix.TCSETAF:
		p.performSetTermios(c, structSize(request), true, true)
	case unix.TIOCMGET:
		c.deferResult32(arg, p.modemLines())
	case unix.TIOCMSET, unix.TIOCMBIS, unix.TIOCMBIC:
		p.changeLines(c, request)
	case unix.TIOCMIWAIT:
		p.awaitLineChange(c, arg)
	case unix.TIOCGICOUNT:
		c.deferResult(arg, bytesOf(&p.line.counts))
	case unix.TCSBRK:
		if uint32(arg) != 0 {
			p.awaitDrained(c, func() { c.returnValue(0) })
			return
		}
		p.sendTimedBreak(c, breakTime)
	case unix.TCSBRKP:
		d := breakTime
		if n := uint32(arg); n != 0 {
			d = time.Duration(n) * 100 * time.Millisecond
		}
		p.sendTimedBreak(c, d)
	case unix.TIOCSBRK:
		p.awaitRoom(c, breakChange, func() {
			p.awaitDrained(c, func() {
				p.setBreak(true)
				c.returnValue(0)
			})
		})
	case unix.TIOCCBRK:
		p.awaitRoom(c, breakChange, func() {
			p.setBreak(false)
			c.returnValue(0)
		})
	case unix.TCFLSH:
		p.flush(c, uint32(arg))
	case unix.TIOCOUTQ:
		c.deferResult32(arg, p.unsent())
	default:
		p.driverIoctl(c, request, arg)
	}
}

// driverIoctl performs the ioctls that only some drivers have.
func (p *port) driverIoctl(c *call, request uint32, arg uint64) {
	switch request {
	case unix.TIOCSERGETLSR:
		state := uint32(0)
		if p.unsent() == 0 {
			state = unix.TIOCSER_TEMT
		}
		c.deferResult32(arg, state)
	case unix.TIOCGSERIAL:
		p.getSerial(c, arg)
	case unix.TIOCSSERIAL:
		p.setSerial(c)
	case unix.TIOCGSOFTCAR:
		c.deferResult32(arg, (p.line.termios.Cflag&unix.CLOCAL)/unix.CLOCAL)
	case unix.TIOCSSOFTCAR:
		p.setSoftCarrier(c)
	case unix.TIOCEXCL, unix.TIOCNXCL:
		p.line.exclusive = request == unix.TIOCEXCL
		c.returnValue(0)
	case unix.TIOCGEXCL:
		n := uint32(0)
		if p.line.exclusive {
			n = 1
		}
		c.deferResult32(arg, n)
	default:
		c.continueInKernel() // the filter traps no other
	}
}

// touchesMemory reports whether a request reads or writes the program's memory.
func touchesMemory(request uint32) bool {
	switch request {
	case unix.TCSBRK, unix.TCSBRKP, unix.TIOCSBRK, unix.TIOCCBRK, unix.TCFLSH, unix.TIOCMIWAIT, unix.TIOCEXCL, unix.TIOCNXCL:
		return false
	}
	return true
}

// argSize returns how many bytes a request reads from the program's memory.
func argSize(request uint32) int {
	switch request {
	case unix.TCSETS, unix.TCSETS2, unix.TCSETSW, unix.TCSETSW2, unix.TCSETSF, unix.TCSETSF2, unix.TCSETA, unix.TCSETAW, unix.TCSETAF:
		return structSize(request)
	case unix.TIOCMSET, unix.TIOCMBIS, unix.TIOCMBIC, unix.TIOCSSOFTCAR:
		return 4
	case unix.TIOCSSERIAL:
		return int(unsafe.Sizeof(serialStruct{}))
	}
	return 0
}

// structSize returns the size of the structure that a termios request passes.
func structSize(request uint32) int {
	switch request {
	case unix.TCGETS, unix.TCSETS, unix.TCSETSW, unix.TCSETSF:
		return termiosSize
	case unix.TCGETS2, unix.TCSETS2, unix.TCSETSW2, unix.TCSETSF2:
		return termios2Size
	}
	return termioSize
}

func (p *port) getTermios(c *call, request uint32, arg uint64) {
	if form := structSize(request); form != termioSize {
		c.deferResult(arg, bytesOf(&p.line.termios)[:form])
		return
	}
	old := toTermio(&p.line.termios)
	c.deferResult(arg, bytesOf(&old)[:termioSize])
}

// performSetTermios performs tcsetattr: at once, or, if wait is set, when the far UART is empty.
func (p *port) performSetTermios(c *call, form int, wait, flush bool) {
	t := p.line.termios
	var old termio
	if form == termioSize {
		copy(bytesOf(&old), c.memory.arg)
	} else {
		copy(bytesOf(&t), c.memory.arg)
	}
	set := func() {
		now := t
		if form == termioSize {
			now = p.line.termios
			setTermio(&now, old)
		}
		if flush {
			p.flushInput()
		}
		p.setTermios(now)
		c.returnValue(0)
	}
	change := uart.Event{Kind: uart.KindSettings}
	if zero := func(t *unix.Termios) bool { return t.Cflag&unix.CBAUD == unix.B0 }; zero(&t) != zero(&p.line.termios) && form != termioSize {
		change.Control.DTR = uart.LevelOff // or LevelOn: both need room in the queue
	}
	p.awaitRoom(c, change, func() {
		if wait {
			p.awaitDrained(c, set)
			return
		}
		set()
	})
}

// setTermios makes t the port's termios and reports the line's settings; port.mu is held.
func (p *port) setTermios(t unix.Termios) {
	termios.FillSpeeds(&t)
	before := p.line.termios
	p.line.termios = t
	// The pty is set even if nothing has changed: a program that was not started here may have changed it.
	now := onPty(t)
	if now != onPty(before) {
		p.drainPTY()
	}
	if err := unix.IoctlSetTermios(p.term.Master(), unix.TCSETS2, &now); err != nil {
		p.log.Warn("cannot set the pty's termios", "device", p.term.Name(), "err", err)
	}
	p.sendLine()
	if was, is := before.Cflag&unix.CBAUD == unix.B0, t.Cflag&unix.CBAUD == unix.B0; was != is {
		p.setLines(!is, !is)
	}
	p.warnUnsupported(&t)
}

// sendLine reports line coding and flow control, even if they are unchanged: someone may have changed them at the far
// end, and a program that sets them again wants them back. port.mu is held.
func (p *port) sendLine() {
	now := lineSettings{termios.Coding(&p.line.termios), termios.Flow(&p.line.termios)}
	if now.coding.Baud == 38400 {
		now.coding.Baud = p.b38400Rate()
	}
	now.coding = now.coding.Over(uart.Coding{Baud: p.line.sent.coding.Baud})
	p.line.sent = now
	p.addEvent(uart.Event{Kind: uart.KindSettings, Coding: now.coding, Flow: now.flow})
}

// warnUnsupported logs, once, what the port cannot do as requested.
func (p *port) warnUnsupported(t *unix.Termios) {
	if termios.SplitSpeed(t) && !p.warned.speed {
		p.warned.speed = true
		p.log.Warn("input and output speed differ; the output speed is used", "device", p.term.Name())
	}
	if termios.BothFlows(t) && !p.warned.flow {
		p.warned.flow = true
		p.log.Warn("RTS/CTS and XON/XOFF are both set; RTS/CTS is used", "device", p.term.Name())
	}
}

// breakTime is the length of tcsendbreak's break.
const breakTime = 250 * time.Millisecond

// drainPoll is how often a call that waits for bytes not sent yet checks whether there is still a session.
const drainPoll = 250 * time.Millisecond

// awaitDrained calls then, with port.mu held, when everything written has left the far UART, as far as is known; or
// when there is no session to wait for.
func (p *port) awaitDrained(c *call, then func()) {
	p.awaitThen(c, func() bool {
		p.drainPTY()
		return p.isDrained(p.config.Unsent())
	}, then)
}

// isDrained reports whether everything written has left the far UART, as far as is known, or there is no session to
// wait for. If not, it leaves in p.wait when to check again; the return of lent bytes wakes the caller anyway. port.mu
// is held.
func (p *port) isDrained(u uart.Unsent) bool {
	switch {
	case u.Left < 0:
		return true
	case p.up.queue.Len()+p.up.lent > 0:
		p.wait.recheckAfter, p.wait.recheckOn = drainPoll, u.Changed
		return false
	case u.Left > 0:
		p.wait.recheckAfter, p.wait.recheckOn = u.Left, u.Changed
		return false
	}
	return true
}

// flush performs tcflush.
func (p *port) flush(c *call, queue uint32) {
	what, ok := termios.Purge(int(queue))
	if !ok {
		c.fail(unix.EINVAL)
		return
	}
	e := uart.Event{Kind: uart.KindPurge, Purge: what}
	p.config.Urgent(e)
	if what&uart.PurgeTx != 0 {
		p.up.queue.Drop()
		p.drainPTY()
		p.up.queue.Drop()
	}
	if what&uart.PurgeRx != 0 {
		p.input.purges++
		p.input.errorNext = 0
		p.flushInput()
		p.term.PokeWriter()
	}
	p.addEvent(e)
	c.onceOnly = true
	c.returnValue(0)
}

// unsent returns how many bytes have not left the far UART yet, as far as is known; 0 if there is no session to wait
// for. port.mu is held.
func (p *port) unsent() uint32 {
	p.drainPTY()
	u := p.config.Unsent()
	if u.Left < 0 {
		return 0
	}
	// Lent bytes may be counted twice. But there are never more than last time plus those written since.
	n, q := p.up.queue.Len()+p.up.lent+u.Bytes, &p.up.outq
	if n = min(n, q.unsent+int(p.up.written-q.written)); n == 0 && u.Left > 0 {
		n = 1
	}
	*q = outq{n, p.up.written}
	return uint32(n)
}

// outq is the last result of TIOCOUTQ, and how many bytes had been written then.
type outq struct {
	unsent  int
	written uint64
}

// errnoOf returns the errno of a failed system call; EIO if it has none.

func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return unix.EIO
}
