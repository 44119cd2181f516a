//go:build amd64 || arm64

package run

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

// Opens by programs that were started here. Such a call waits for the session, for the carrier, and until the last
// bytes written before the last close have left.

// openSlave opens the slave for a program. If a program that was not started here has set TIOCEXCL and has closed the
// pty unnoticed, the pty is replaced. port.mu is held.
func (p *port) openSlave(flags int) (fd int, err error) {
	flags &= unix.O_ACCMODE | unix.O_NONBLOCK | unix.O_SYNC | unix.O_DSYNC
	fd, err = p.term.OpenSlave(flags)
	if err != unix.EBUSY || p.opens.hadSlave || !p.term.Unused() {
		return fd, err
	}
	if p.hasUnread() {
		p.noteUnseenOpen()
		p.checkLastClose()
	} else {
		p.replacePTY()
	}
	return p.term.OpenSlave(flags)
}

// opening is the wait of the first opens after a last close for the session.
type opening struct {
	done bool      // the wait is over
	up   bool      // because there is a session
	end  time.Time // when it is over at the latest
}

// lastClose is what programs wrote before the last close.
type lastClose struct {
	written uint64 // up to here, counted like upState.written
	awaited bool   // the next open waits until it has left

	// The progress seen by the opens that wait. It is kept here because a signal may end one open and begin another.
	left  int       // bytes not sent yet
	since time.Time // when that last decreased
	moved bool      // it has decreased at all
}

// closingWait is how long an open waits while none of these bytes leaves; the equivalent of a driver's closing_wait.
// Only tests change it.
var closingWait = 30 * time.Second

// awaitsLastClose reports whether an open waits for the bytes written before the last close. With a UART's driver it
// would wait for the close, which drains under the lock that an open takes, O_NONBLOCK or not. So a program does not
// read the answers to its predecessor's requests. Without a session no byte leaves: then an open waits for the session
// alone, up to OpenWait. port.mu is held.
func (p *port) awaitsLastClose(o *opening) bool {
	w := &p.opens.lastClose
	if !w.awaited || p.config.OpenWait <= 0 {
		return false
	}
	u := p.config.Unsent()
	left := p.up.queue.Len() + p.up.lent + u.Bytes - int(p.up.written-w.written) // without what was written since
	if left <= 0 || p.isDrained(u) {
		return false
	}
	now := time.Now()
	if w.since.IsZero() || left < w.left {
		w.left, w.since, w.moved = left, now, !w.since.IsZero()
	}
	if !w.moved && !u.Up && (o == nil || o.done && !o.up) {
		return false
	}
	until := w.since.Add(closingWait)
	p.wait.recheckAfter = min(p.wait.recheckAfter, max(until.Sub(now), time.Millisecond))
	return now.Before(until)
}

// openCall answers an open of the port with these flags of open(2). kernelSame means that the kernel would open the
// slave, too. That matters if the port is to become the controlling terminal, which an added descriptor never does.
func (p *port) openCall(c *call, flags int, kernelSame bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		c.fail(unix.ENOENT) // as with an adapter that was pulled out
		return
	}
	p.releaseKernelOpens(func(o *kernelOpen) bool { return o.tid == c.n.TID }) // its thread is back from the kernel
	p.checkLastClose()
	if !p.opens.hadSlave && p.up.queue.Len() > ordered.Limit {
		// What earlier programs wrote has nowhere to go. An open waits, as with a UART that is still sending.
		p.await(c, func() bool { return p.ended || p.opens.hadSlave || p.up.queue.Len() <= ordered.Limit }, func(errno unix.Errno) {
			if errno != 0 && errno != unix.EIO { // EIO: another open waits for the carrier, and the port hung up meanwhile
				c.fail(errno)
				return
			}
			p.openCall(c, flags, kernelSame)
		})
		return
	}
	if p.line.exclusive && !hasSysAdmin(c.n.TID) {
		c.fail(unix.EBUSY)
		return
	}
	fd, err := p.openSlave(flags)
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	if !p.opens.open {
		p.noteOpen(p.newOpening(nil))
	}
	p.awaitOpen(c, fd, flags, kernelSame)
}

// awaitOpen gives a program the slave that was opened for it, as soon as there is a session and, as with a serial
// driver, the carrier. If it has to wait, the slave is closed again: see checkLastClose. If the port hangs up
// meanwhile, the open starts over. port.mu is held.
func (p *port) awaitOpen(c *call, fd, flags int, kernelSame bool) {
	answered := false
	p.await(c, func() bool {
		if !p.ended && (p.opens.opening != nil && !p.opens.opening.done || p.awaitsCarrier(flags) || p.awaitsLastClose(p.opens.opening)) {
			if fd >= 0 {
				_ = unix.Close(fd)
				fd = -1
				p.opens.waiting[c] = flags
			}
			return false
		}
		answered = true
		p.completeOpen(c, fd, flags, kernelSame)
		return true
	}, func(errno unix.Errno) {
		if answered {
			return
		}
		p.mu.Lock()
		p.openGone(c)
		p.mu.Unlock()
		if errno == unix.EIO {
			p.openCall(c, flags, kernelSame)
			return
		}
		c.fail(errno)
	})
}

// awaitsCarrier reports whether an open waits for the carrier; the lock is held.
func (p *port) awaitsCarrier(flags int) bool {
	return flags&unix.O_NONBLOCK == 0 && p.line.termios.Cflag&unix.CLOCAL == 0 && p.line.modem&uart.DCD == 0
}

// openGone notes that an open no longer waits; port.mu is held.
func (p *port) openGone(c *call) {
	delete(p.opens.waiting, c)
	p.checkLastClose()
	p.term.PokeWriter() // writeToProgram depends on which opens wait
}

// completeOpen makes an open that need not wait any more return. fd is the slave if it is open, else -1. port.mu is
// held, so that our copy is closed before the program's next call is handled.
func (p *port) completeOpen(c *call, fd, flags int, kernelSame bool) {
	if p.ended {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		c.fail(unix.ENOENT)
		return
	}
	var err error
	if fd < 0 {
		if fd, err = p.openSlave(flags); err != nil {
			p.openGone(c)
			c.fail(errnoOf(err))
			return
		}
	}
	if kernelSame && p.becomesControlling(c, flags) {
		err = p.openInKernel(c, fd)
	} else {
		err = c.returnFD(fd, flags&unix.O_CLOEXEC != 0)
		_ = unix.Close(fd)
	}
	switch {
	case err == nil:
		p.opens.lastClose.awaited = false
		p.noteSlaveOpen()
		delete(p.opens.waiting, c)
	case errors.Is(err, errInterrupted):
		p.keepForRestart(c, flags)
	default:
		p.openGone(c)
		c.fail(errnoOf(err))
	}
}

// becomesControlling reports whether the port would become the program's controlling terminal if the kernel performed
// the open: tty_open_proc_set_tty in drivers/tty/tty_jobctrl.c. port.mu is held.
func (p *port) becomesControlling(c *call, flags int) bool {
	if flags&(unix.O_NOCTTY|unix.O_WRONLY) != 0 {
		return false
	}
	_, err := unix.IoctlGetInt(p.term.Master(), unix.TIOCGSID)
	return err != nil && acquiresTerminal(c.n.TID) // else it is another session's
}

// keepForRestart keeps an interrupted open among those that wait, for restartWindow or until its thread makes another
// call. If it is restarted, this is not a close and a second open. port.mu is held.
func (p *port) keepForRestart(c *call, flags int) {
	p.opens.waiting[c] = flags
	gone := c.registerWait()
	go func() { // ends within restartWindow
		defer c.unregisterWait(gone)
		timer := time.NewTimer(restartWindow)
		defer timer.Stop()
		select {
		case <-gone:
		case <-timer.C:
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.openGone(c)
	}()
}

// maxEarly bounds the bytes kept for opens that wait: what a line discipline buffers (N_TTY_BUF_SIZE). A pty that was
// just opened has room for as much.
const maxEarly = 4096

// writeToProgram writes bytes to the programs and returns how many it took; fewer than b if there is no room. For opens
// that wait it keeps them, because a pty takes no bytes while its slave is not open. What does not fit then blocks, as
// with a program that does not read; but if every open waits for the carrier, drop is true: the carrier may come only
// after these bytes, so they are dropped, as a driver does if a program does not read. port.mu is held.
func (p *port) writeToProgram(b []byte) (n int, drop bool) {
	if p.opens.hadSlave {
		return p.term.WriteMaster(b), false
	}
	n = min(len(b), maxEarly-len(p.opens.early))
	p.opens.early = append(p.opens.early, b[:n]...)
	for _, flags := range p.opens.waiting {
		if !p.awaitsCarrier(flags) {
			return n, false
		}
	}
	return n, true
}

// noteSlaveOpen notes that a program has the slave open. The first one gets what arrived while opens waited; port.mu is
// held.
func (p *port) noteSlaveOpen() {
	p.opens.hadSlave = true
	if len(p.opens.early) > 0 {
		n := p.term.WriteMaster(p.opens.early)
		p.input.pending, p.opens.early = append(p.opens.early[n:], p.input.pending...), nil // pending may hold a break
		p.term.PokeWriter()                                                                 // see writeToProgram
	}
}

const (
	// kernelOpenTimeout is how long the kernel may take for an open that it performs itself.
	kernelOpenTimeout = time.Second
	// kernelOpenPoll is how often it is checked whether it has; usually inotify reports it before.
	kernelOpenPoll = 5 * time.Millisecond
)

// kernelOpen is an open that the kernel performs itself. Until it has, a descriptor is held here, so that the port does
// not look closed.
type kernelOpen struct {
	fd     int
	of     *pty
	tid    uint32
	leader uint64 // process id of the thread's process, which leads its session
	number int32  // of the system call
}

// openInKernel lets the kernel perform an open, and closes fd when it has; port.mu is held.
func (p *port) openInKernel(c *call, fd int) error {
	o := &kernelOpen{fd, p.pty, c.n.TID, readProcStatus(c.n.TID).number("Tgid:", 10), c.n.Data.Number}
	if !c.continueInKernel() {
		_ = unix.Close(fd)
		return errInterrupted
	}
	p.opens.inKernel = append(p.opens.inKernel, o)
	p.background.Go(func() { // ends within kernelOpenTimeout, or with the port
		tick := time.NewTicker(kernelOpenPoll)
		defer tick.Stop()
		for end := time.Now().Add(kernelOpenTimeout); ; <-tick.C {
			p.mu.Lock()
			if p.ended || time.Now().After(end) {
				p.releaseKernelOpens(func(held *kernelOpen) bool { return held == o })
			}
			p.checkLastClose()
			left := slices.Contains(p.opens.inKernel, o)
			p.mu.Unlock()
			if !left {
				return
			}
		}
	})
	return nil
}

// releaseKernelOpens closes the descriptors of those kernel opens that are over; port.mu is held.
func (p *port) releaseKernelOpens(over func(*kernelOpen) bool) {
	p.opens.inKernel = slices.DeleteFunc(p.opens.inKernel, func(o *kernelOpen) bool {
		if !over(o) {
			return false
		}
		_ = unix.Close(o.fd)
		return true
	})
}

// done reports whether the kernel has performed the open: the pty is the controlling terminal of the program's session
// (tiocgsid in drivers/tty/tty_jobctrl.c also answers on a master), or the thread is in another call.
func (o *kernelOpen) done() bool {
	if session, err := unix.IoctlGetInt(o.of.term.Master(), unix.TIOCGSID); err == nil && uint64(session) == o.leader {
		return true
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(int(o.tid)) + "/syscall")
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ESRCH):
		return true
	case err != nil:
		return false
	}
	at, _, _ := bytes.Cut(text, []byte(" "))
	number, err := strconv.Atoi(string(at))
	return err == nil && number != int(o.number) // not a number: it runs, which may be before or after
}

// newOpening starts the wait for the session, and returns what the session calls when it is up or has failed. The wait
// ends after OpenWait even without that, or at once if a session is up already. before is the wait of opens that began
// before the last close and still wait, or nil: they do not wait any longer than they would have. port.mu is held.
func (p *port) newOpening(before *opening) func(error) {
	o := &opening{end: time.Now().Add(p.config.OpenWait)}
	if before != nil && !before.done {
		o.end = before.end
	}
	p.opens.opening = o
	ready := func(up bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		o.done, o.up = true, up
		p.wakeWaiters()
	}
	// With events in the queue, Next must report this open first: else programs that open and close in a loop would
	// fill the queue.
	if p.config.OpenWait <= 0 || p.up.queue.Empty() && p.config.Unsent().Up {
		o.done, o.up = true, true
		return func(error) {}
	}
	timer := time.AfterFunc(time.Until(o.end), func() { ready(false) })
	return func(err error) {
		timer.Stop()
		ready(err == nil)
	}
}
