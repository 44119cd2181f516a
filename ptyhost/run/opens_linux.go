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

// Opens by programs that were started here: calls that wait for the session, for the carrier and for the last bytes of those
// that had the port before.

// openSlave opens the slave for a program. Where a program that was not started here has kept the port for itself, and has
// closed it unseen, that is over. The lock is held.
func (p *port) openSlave(flags int) (fd int, err error) {
	flags &= unix.O_ACCMODE | unix.O_NONBLOCK | unix.O_SYNC | unix.O_DSYNC
	fd, err = p.term.OpenSlave(flags)
	if err != unix.EBUSY || p.opens.hadSlave || !p.term.NobodyHas() {
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

// opening is what opens of a visit wait for first: the session.
type opening struct {
	done bool      // they wait for it no more
	up   bool      // for there is a session
	end  time.Time // they wait until then at most
}

// visit is what the programs wrote before the last close.
type lastClose struct {
	written uint64 // of it, as port.written counts
	awaited bool   // the next open waits for it

	// What opens that wait have seen; a signal may have ended one and begun another.
	left  int       // bytes of it
	since time.Time // when they moved last
	moved bool      // that they moved
}

// lastPatience is how long none of the last visit's bytes may leave for an open to go on, as a driver's close goes on after
// closing_wait. Only a test changes it.
var closingWait = 30 * time.Second

// awaitsLast reports whether an open waits for what the last visit has written, as it would for the close of a UART's
// driver, which holds the lock that an open takes, O_NONBLOCK or not. So the program does not read what answers the one
// before. Without a session no byte leaves: then it waits for the session alone, that is for OpenWait. The lock is held.
func (p *port) awaitsLastClose(o *opening) bool {
	w := &p.opens.lastClose
	if !w.awaited || p.config.OpenWait <= 0 {
		return false
	}
	u := p.config.Unsent()
	left := p.up.queue.Len() + p.up.lent + u.Bytes - int(p.up.written-w.written) // those of now have a later place
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

// openFor opens the port for a program: the answer to its call. Flags are those of open(2). real says that the path leads
// to the slave, so that the kernel can perform the open: a descriptor that is given does not become the controlling terminal
// of a session that has none.
func (p *port) openCall(c *call, flags int, real bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		c.fail(unix.ENOENT) // as of an adapter that was pulled out
		return
	}
	p.releaseKernelOpens(func(o *kernelOpen) bool { return o.tid == c.n.TID }) // a thread that calls again is done with its open
	p.checkLastClose()
	if !p.opens.hadSlave && p.up.queue.Len() > ordered.Limit {
		// What earlier programs wrote has nowhere to go: an open waits, as that of a UART which still sends.
		p.await(c, func() bool { return p.ended || p.opens.hadSlave || p.up.queue.Len() <= ordered.Limit }, func(errno unix.Errno) {
			if errno != 0 && errno != unix.EIO { // EIO: the port was hung up, since another open waits for the carrier
				c.fail(errno)
				return
			}
			p.openCall(c, flags, real)
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
	p.awaitOpen(c, fd, flags, real)
}

// handOver gives a program the slave that was opened for it, when the session is up and, as a serial driver would have it, the
// carrier is there. Where it has to wait, the slave is closed again: see settle. Where the port is hung up meanwhile, the open
// begins again. The lock is held.
func (p *port) awaitOpen(c *call, fd, flags int, real bool) {
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
		p.completeOpen(c, fd, flags, real)
		return true
	}, func(errno unix.Errno) {
		if answered {
			return
		}
		p.mu.Lock()
		p.openGone(c)
		p.mu.Unlock()
		if errno == unix.EIO {
			p.openCall(c, flags, real)
			return
		}
		c.fail(errno)
	})
}

// awaitsCarrier reports whether an open waits for the carrier; the lock is held.
func (p *port) awaitsCarrier(flags int) bool {
	return flags&unix.O_NONBLOCK == 0 && p.line.termios.Cflag&unix.CLOCAL == 0 && p.line.modem&uart.DCD == 0
}

// waitsNoMore notes that an open is not waited for any more; the lock is held.
func (p *port) openGone(c *call) {
	delete(p.opens.waiting, c)
	p.checkLastClose()
	p.term.PokeWriter() // see pass
}

// answerOpen lets an open that need not wait any more return. fd is the slave, where it is open already; else it is -1. The
// lock is held: whatever the program does next finds our own copy closed.
func (p *port) completeOpen(c *call, fd, flags int, real bool) {
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
	if real && p.becomesControlling(c, flags) {
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

// becomesTerminal reports whether the open, if the kernel performs it, makes the port the controlling terminal of its program:
// tty_open_proc_set_tty of tty_jobctrl.c. The lock is held.
func (p *port) becomesControlling(c *call, flags int) bool {
	if flags&(unix.O_NOCTTY|unix.O_WRONLY) != 0 {
		return false
	}
	_, err := unix.IoctlGetInt(p.term.Master(), unix.TIOCGSID)
	return err != nil && acquiresTerminal(c.n.TID) // else it is that of another session
}

// mayComeAgain keeps an open among those that wait, for a moment or until its thread calls again: a signal has interrupted it,
// and one that is made again is no close and a second open. The lock is held.
func (p *port) keepForRestart(c *call, flags int) {
	p.opens.waiting[c] = flags
	gone := c.registerWait()
	go func() { // ends soon
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

// earlyMost bounds what is kept for opens that wait, in bytes: what a line discipline keeps (N_TTY_BUF_SIZE). A pty that was just
// opened has room for as much.
const maxEarly = 4096

// pass gives bytes to the programs, and returns how many; fewer: there is no room. For opens that wait they are kept: the pty
// takes none while nobody has its slave open. What comes when there is no room waits, as for a program that does not read,
// unless every open waits for the carrier: the rise of that may come after these bytes, so they are dropped, as by a driver
// whose program does not read. The lock is held.
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

// has notes that a program has the port open. The first one is given what came while opens waited; the lock is held.
func (p *port) noteSlaveOpen() {
	p.opens.hadSlave = true
	if len(p.opens.early) > 0 {
		n := p.term.WriteMaster(p.opens.early)
		p.input.pending, p.opens.early = append(p.opens.early[n:], p.input.pending...), nil // a mark of a break may wait already
		p.term.PokeWriter()                                                                 // see pass
	}
}

const (
	// openGrace is how long the kernel may take with an open that it performs itself.
	kernelOpenTimeout = time.Second
	// openLook is how often it is asked meanwhile; mostly inotify has told before.
	kernelOpenPoll = 5 * time.Millisecond
)

// performed is an open that the kernel performs itself. Until it has, a descriptor is held, so that the port does not look
// closed.
type kernelOpen struct {
	fd     int
	of     *pty
	tid    uint32
	leader uint64 // of its session: its process
	number int32  // of the system call
}

// proceed lets the kernel perform an open, and closes fd when it has; the lock is held.
func (p *port) openInKernel(c *call, fd int) error {
	o := &kernelOpen{fd, p.pty, c.n.TID, readProcStatus(c.n.TID).number("Tgid:", 10), c.n.Data.Number}
	if !c.continueInKernel() {
		_ = unix.Close(fd)
		return errInterrupted
	}
	p.opens.inKernel = append(p.opens.inKernel, o)
	p.background.Go(func() { // ends soon, or with the port
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

// letGo closes what is held for those opens that are over; the lock is held.
func (p *port) releaseKernelOpens(over func(*kernelOpen) bool) {
	p.opens.inKernel = slices.DeleteFunc(p.opens.inKernel, func(o *kernelOpen) bool {
		if !over(o) {
			return false
		}
		_ = unix.Close(o.fd)
		return true
	})
}

// done reports whether the kernel has performed the open: the pty is the controlling terminal of the program's session (a
// master is asked for its slave's, tiocgsid of tty_jobctrl.c), or the thread is somewhere else.
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
	return err == nil && number != int(o.number) // else it runs, nobody knows where
}

// readier begins a visit. It returns what the session calls when it is up. The visit's opens go on without that after OpenWait,
// or at once where a session is up already. before is the opening of an earlier visit whose opens wait still: they wait no
// longer than they would have then; nil: there are none. The lock is held.
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
	// Where events wait it is Next's turn: programs that open and close in a loop would fill the queue with that.
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
