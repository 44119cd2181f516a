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

// What a program's ioctl on the port does. Each answers as a serial driver of the kernel: serial_core.c, tty_io.c,
// tty_ioctl.c.

// ioctl performs a call on the port by a descriptor of that slave.
func (p *port) ioctl(c *call, slave fileID) {
	if c.fetch() {
		p.perform(c, slave)
		c.deliver()
	}
}

// perform is ioctl when what it reads is there, and but for what it writes.
func (p *port) perform(c *call, slave fileID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || slave != p.id { // hung up meanwhile
		c.fail(unix.EIO)
		return
	}
	if !p.had && !p.term.NobodyHas() { // by a way that nobody saw, as a descriptor that another program has sent
		p.sees()
	}
	request, arg := uint32(c.n.Data.Args[1]), c.n.Data.Args[2]
	switch request {
	case unix.TCGETS, unix.TCGETS2, unix.TCGETA:
		p.getTermios(c, request, arg)
	case unix.TCSETS, unix.TCSETS2, unix.TCSETA:
		p.takeTermios(c, formOf(request), false, false)
	case unix.TCSETSW, unix.TCSETSW2, unix.TCSETAW:
		p.takeTermios(c, formOf(request), true, false)
	case unix.TCSETSF, unix.TCSETSF2, unix.TCSETAF:
		p.takeTermios(c, formOf(request), true, true)
	case unix.TIOCMGET:
		c.give32(arg, p.lines())
	case unix.TIOCMSET, unix.TIOCMBIS, unix.TIOCMBIC:
		p.changeLines(c, request)
	case unix.TIOCMIWAIT:
		p.waitForLines(c, arg)
	case unix.TIOCGICOUNT:
		c.gives(arg, bytesOf(&p.counts))
	case unix.TCSBRK:
		if uint32(arg) != 0 {
			p.drained(c, func() { c.answer(0) })
			return
		}
		p.breakFor(c, breakTime)
	case unix.TCSBRKP:
		d := breakTime
		if n := uint32(arg); n != 0 {
			d = time.Duration(n) * 100 * time.Millisecond
		}
		p.breakFor(c, d)
	case unix.TIOCSBRK:
		p.whenRoom(c, breakEdge, func() {
			p.drained(c, func() {
				p.sendBreak(true)
				c.answer(0)
			})
		})
	case unix.TIOCCBRK:
		p.whenRoom(c, breakEdge, func() {
			p.sendBreak(false)
			c.answer(0)
		})
	case unix.TCFLSH:
		p.flush(c, uint32(arg))
	case unix.TIOCOUTQ:
		c.give32(arg, p.unsent())
	default:
		p.ioctlOfDriver(c, request, arg)
	}
}

// ioctlOfDriver performs what only some drivers have.
func (p *port) ioctlOfDriver(c *call, request uint32, arg uint64) {
	switch request {
	case unix.TIOCSERGETLSR:
		state := uint32(0)
		if p.unsent() == 0 {
			state = unix.TIOCSER_TEMT
		}
		c.give32(arg, state)
	case unix.TIOCGSERIAL:
		p.getSerial(c, arg)
	case unix.TIOCSSERIAL:
		p.setSerial(c)
	case unix.TIOCGSOFTCAR:
		c.give32(arg, (p.termios.Cflag&unix.CLOCAL)/unix.CLOCAL)
	case unix.TIOCSSOFTCAR:
		p.setSoftCarrier(c)
	case unix.TIOCEXCL, unix.TIOCNXCL:
		p.exclusive = request == unix.TIOCEXCL
		c.answer(0)
	case unix.TIOCGEXCL:
		n := uint32(0)
		if p.exclusive {
			n = 1
		}
		c.give32(arg, n)
	default:
		c.proceed() // the filter traps no other
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

// carriedBy is how many bytes a request reads from the program's memory.
func carriedBy(request uint32) int {
	switch request {
	case unix.TCSETS, unix.TCSETS2, unix.TCSETSW, unix.TCSETSW2, unix.TCSETSF, unix.TCSETSF2, unix.TCSETA, unix.TCSETAW, unix.TCSETAF:
		return formOf(request)
	case unix.TIOCMSET, unix.TIOCMBIS, unix.TIOCMBIC, unix.TIOCSSOFTCAR:
		return 4
	case unix.TIOCSSERIAL:
		return int(unsafe.Sizeof(serial{}))
	}
	return 0
}

// formOf is the size of what a request carries.
func formOf(request uint32) int {
	switch request {
	case unix.TCGETS, unix.TCSETS, unix.TCSETSW, unix.TCSETSF:
		return form1
	case unix.TCGETS2, unix.TCSETS2, unix.TCSETSW2, unix.TCSETSF2:
		return form2
	}
	return formOld
}

func (p *port) getTermios(c *call, request uint32, arg uint64) {
	if form := formOf(request); form != formOld {
		c.gives(arg, bytesOf(&p.termios)[:form])
		return
	}
	old := encodeOld(&p.termios)
	c.gives(arg, bytesOf(&old)[:formOld])
}

// takeTermios sets the termios that the program says, when the far UART is empty where that is asked for.
func (p *port) takeTermios(c *call, form int, wait, flush bool) {
	t := p.termios
	var old termio
	if form == formOld {
		copy(bytesOf(&old), c.said)
	} else {
		copy(bytesOf(&t), c.said)
	}
	set := func() {
		now := t
		if form == formOld {
			now = p.termios
			decodeOld(&now, old)
		}
		if flush {
			p.flushInput()
		}
		p.setTermios(now)
		c.answer(0)
	}
	change := uart.Event{Kind: uart.KindSettings}
	if zero := func(t *unix.Termios) bool { return t.Cflag&unix.CBAUD == unix.B0 }; zero(&t) != zero(&p.termios) && form != formOld {
		change.Control.DTR = uart.LevelOff // or on
	}
	p.whenRoom(c, change, func() {
		if wait {
			p.drained(c, set)
			return
		}
		set()
	})
}

// setTermios makes t the port's termios, and tells what of the line has changed; the lock is held.
func (p *port) setTermios(t unix.Termios) {
	termios.FillSpeeds(&t)
	before := p.termios
	p.termios = t
	// The pty gets it also where nothing has changed: a program that was not started here may have set the pty otherwise.
	now := onPty(t)
	if now != onPty(before) {
		p.takeIn()
	}
	if err := unix.IoctlSetTermios(p.term.Master(), unix.TCSETS2, &now); err != nil {
		p.log.Warn("the pty's termios cannot be set", "device", p.term.Name(), "err", err)
	}
	p.tellLine()
	if was, is := before.Cflag&unix.CBAUD == unix.B0, t.Cflag&unix.CBAUD == unix.B0; was != is {
		p.drive(!is, !is)
	}
	p.remark(&t)
}

// tellLine tells line coding and flow control, also where they are what was told last: somebody may have changed them at
// the far end, and who asks again wants them back. The lock is held.
func (p *port) tellLine() {
	now := line{termios.Coding(&p.termios), termios.Flow(&p.termios)}
	if now.coding.Baud == 38400 {
		now.coding.Baud = p.oddRate()
	}
	now.coding = now.coding.Over(uart.Coding{Baud: p.told.coding.Baud})
	p.told = now
	p.add(uart.Event{Kind: uart.KindSettings, Coding: now.coding, Flow: now.flow})
}

// remark says once what a port cannot do as it was asked to.
func (p *port) remark(t *unix.Termios) {
	if termios.SplitSpeed(t) && !p.saidSpeed {
		p.saidSpeed = true
		p.log.Warn("input and output speed differ; the output speed counts", "device", p.term.Name())
	}
	if termios.BothFlows(t) && !p.saidFlow {
		p.saidFlow = true
		p.log.Warn("RTS/CTS and XON/XOFF are both asked for; RTS/CTS counts", "device", p.term.Name())
	}
}

// breakTime is how long tcsendbreak's break lasts.
const breakTime = 250 * time.Millisecond

// drainPause is how often a call that waits for bytes which are here asks whether they are waited for.
const drainPause = 250 * time.Millisecond

// drained calls then, under the lock, when everything that was written has left the far UART, as far as can be known; or
// when no byte is waited for.
func (p *port) drained(c *call, then func()) {
	p.when(c, func() bool {
		p.takeIn()
		return p.isEmpty(p.config.Unsent())
	}, then)
}

// isEmpty reports whether everything is out as far as is known, or no byte is waited for, for one who asks later: again
// when that can have changed. What comes back of the bytes lent wakes him. The lock is held.
func (p *port) isEmpty(u uart.Unsent) bool {
	switch {
	case u.Left < 0:
		return true
	case p.queue.Len()+p.lent > 0:
		p.again, p.news = drainPause, u.Changed
		return false
	case u.Left > 0:
		p.again, p.news = u.Left, u.Changed
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
		p.queue.Drop()
		p.takeIn()
		p.queue.Drop()
	}
	if what&uart.PurgeRx != 0 {
		p.purges++
		p.errorNext = 0
		p.flushInput()
		p.term.PokeWriter()
	}
	p.add(e)
	c.once = true
	c.answer(0)
}

// unsent is how many bytes have not left the far UART yet, as far as can be known; 0 where no byte is waited for. The lock
// is held.
func (p *port) unsent() uint32 {
	p.takeIn()
	u := p.config.Unsent()
	if u.Left < 0 {
		return 0
	}
	// Lent bytes may be counted twice. No more are unsent than were the last time, and were written since.
	n, q := p.queue.Len()+p.lent+u.Bytes, &p.outq
	if n = min(n, q.unsent+int(p.written-q.written)); n == 0 && u.Left > 0 {
		n = 1
	}
	*q = outq{n, p.written}
	return uint32(n)
}

// outq is what TIOCOUTQ has said, and how many bytes had been written then.
type outq struct {
	unsent  int
	written uint64
}

// errnoOf is the number of an error of a system call.
func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return unix.EIO
}
