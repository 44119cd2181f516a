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
	if err != unix.EBUSY || p.had || !p.term.NobodyHas() {
		return fd, err
	}
	if p.hasBytes() {
		p.sees()
		p.settle()
	} else {
		p.renew()
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
type visit struct {
	end  uint64 // of it, as port.written counts
	owes bool   // the next open waits for it

	// What opens that wait have seen; a signal may have ended one and begun another.
	left  int       // bytes of it
	since time.Time // when they moved last
	moved bool      // that they moved
}

// lastPatience is how long none of the last visit's bytes may leave for an open to go on, as a driver's close goes on after
// closing_wait. Only a test changes it.
var lastPatience = 30 * time.Second

// awaitsLast reports whether an open waits for what the last visit has written, as it would for the close of a UART's
// driver, which holds the lock that an open takes, O_NONBLOCK or not. So the program does not read what answers the one
// before. Without a session no byte leaves: then it waits for the session alone, that is for OpenWait. The lock is held.
func (p *port) awaitsLast(o *opening) bool {
	w := &p.last
	if !w.owes || p.config.OpenWait <= 0 {
		return false
	}
	u := p.config.Unsent()
	left := p.queue.Len() + p.lent + u.Bytes - int(p.written-w.end) // those of now have a later place
	if left <= 0 || p.isEmpty(u) {
		return false
	}
	now := time.Now()
	if w.since.IsZero() || left < w.left {
		w.left, w.since, w.moved = left, now, !w.since.IsZero()
	}
	if !w.moved && !u.Up && (o == nil || o.done && !o.up) {
		return false
	}
	until := w.since.Add(lastPatience)
	p.again = min(p.again, max(until.Sub(now), time.Millisecond))
	return now.Before(until)
}

// openFor opens the port for a program: the answer to its call. Flags are those of open(2). real says that the path leads
// to the slave, so that the kernel can perform the open: a descriptor that is given does not become the controlling terminal
// of a session that has none.
func (p *port) openFor(c *call, flags int, real bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		c.fail(unix.ENOENT) // as of an adapter that was pulled out
		return
	}
	p.letGo(func(o *performed) bool { return o.tid == c.n.TID }) // a thread that calls again is done with its open
	p.settle()
	if !p.had && p.queue.Len() > ordered.Limit {
		// What earlier programs wrote has nowhere to go: an open waits, as that of a UART which still sends.
		p.later(c, func() bool { return p.ended || p.had || p.queue.Len() <= ordered.Limit }, func(errno unix.Errno) {
			if errno != 0 && errno != unix.EIO { // EIO: the port was hung up, since another open waits for the carrier
				c.fail(errno)
				return
			}
			p.openFor(c, flags, real)
		})
		return
	}
	if p.exclusive && !privileged(c.n.TID) {
		c.fail(unix.EBUSY)
		return
	}
	fd, err := p.openSlave(flags)
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	if !p.open {
		p.openNow(p.readier(nil))
	}
	p.handOver(c, fd, flags, real)
}

// handOver gives a program the slave that was opened for it, when the session is up and, as a serial driver would have it, the
// carrier is there. Where it has to wait, the slave is closed again: see settle. Where the port is hung up meanwhile, the open
// begins again. The lock is held.
func (p *port) handOver(c *call, fd, flags int, real bool) {
	answered := false
	p.later(c, func() bool {
		if !p.ended && (p.opening != nil && !p.opening.done || p.awaitsCarrier(flags) || p.awaitsLast(p.opening)) {
			if fd >= 0 {
				_ = unix.Close(fd)
				fd = -1
				p.waiting[c] = flags
			}
			return false
		}
		answered = true
		p.answerOpen(c, fd, flags, real)
		return true
	}, func(errno unix.Errno) {
		if answered {
			return
		}
		p.mu.Lock()
		p.waitsNoMore(c)
		p.mu.Unlock()
		if errno == unix.EIO {
			p.openFor(c, flags, real)
			return
		}
		c.fail(errno)
	})
}

// awaitsCarrier reports whether an open waits for the carrier; the lock is held.
func (p *port) awaitsCarrier(flags int) bool {
	return flags&unix.O_NONBLOCK == 0 && p.termios.Cflag&unix.CLOCAL == 0 && p.modem&uart.DCD == 0
}

// waitsNoMore notes that an open is not waited for any more; the lock is held.
func (p *port) waitsNoMore(c *call) {
	delete(p.waiting, c)
	p.settle()
	p.term.PokeWriter() // see pass
}

// answerOpen lets an open that need not wait any more return. fd is the slave, where it is open already; else it is -1. The
// lock is held: whatever the program does next finds our own copy closed.
func (p *port) answerOpen(c *call, fd, flags int, real bool) {
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
			p.waitsNoMore(c)
			c.fail(errnoOf(err))
			return
		}
	}
	if real && p.becomesTerminal(c, flags) {
		err = p.proceed(c, fd)
	} else {
		err = c.inject(fd, flags&unix.O_CLOEXEC != 0)
		_ = unix.Close(fd)
	}
	switch {
	case err == nil:
		p.last.owes = false
		p.has()
		delete(p.waiting, c)
	case errors.Is(err, errGone):
		p.mayComeAgain(c, flags)
	default:
		p.waitsNoMore(c)
		c.fail(errnoOf(err))
	}
}

// becomesTerminal reports whether the open, if the kernel performs it, makes the port the controlling terminal of its program:
// tty_open_proc_set_tty of tty_jobctrl.c. The lock is held.
func (p *port) becomesTerminal(c *call, flags int) bool {
	if flags&(unix.O_NOCTTY|unix.O_WRONLY) != 0 {
		return false
	}
	_, err := unix.IoctlGetInt(p.term.Master(), unix.TIOCGSID)
	return err != nil && wantsTerminal(c.n.TID) // else it is that of another session
}

// mayComeAgain keeps an open among those that wait, for a moment or until its thread calls again: a signal has interrupted it,
// and one that is made again is no close and a second open. The lock is held.
func (p *port) mayComeAgain(c *call, flags int) {
	p.waiting[c] = flags
	gone := c.waits()
	go func() { // ends soon
		defer c.waitsNoMore(gone)
		timer := time.NewTimer(againWithin)
		defer timer.Stop()
		select {
		case <-gone:
		case <-timer.C:
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waitsNoMore(c)
	}()
}

// earlyMost bounds what is kept for opens that wait, in bytes: what a line discipline keeps (N_TTY_BUF_SIZE). A pty that was just
// opened has room for as much.
const earlyMost = 4096

// pass gives bytes to the programs, and returns how many; fewer: there is no room. For opens that wait they are kept: the pty
// takes none while nobody has its slave open. What comes when there is no room waits, as for a program that does not read,
// unless every open waits for the carrier: the rise of that may come after these bytes, so they are dropped, as by a driver
// whose program does not read. The lock is held.
func (p *port) pass(b []byte) (n int, drop bool) {
	if p.had {
		return p.term.WriteMaster(b), false
	}
	n = min(len(b), earlyMost-len(p.early))
	p.early = append(p.early, b[:n]...)
	for _, flags := range p.waiting {
		if !p.awaitsCarrier(flags) {
			return n, false
		}
	}
	return n, true
}

// has notes that a program has the port open. The first one is given what came while opens waited; the lock is held.
func (p *port) has() {
	p.had = true
	if len(p.early) > 0 {
		n := p.term.WriteMaster(p.early)
		p.pending, p.early = append(p.early[n:], p.pending...), nil // a mark of a break may wait already
		p.term.PokeWriter()                                         // see pass
	}
}

const (
	// openGrace is how long the kernel may take with an open that it performs itself.
	openGrace = time.Second
	// openLook is how often it is asked meanwhile; mostly inotify has told before.
	openLook = 5 * time.Millisecond
)

// performed is an open that the kernel performs itself. Until it has, a descriptor is held, so that the port does not look
// closed.
type performed struct {
	fd     int
	of     *pty
	tid    uint32
	leader uint64 // of its session: its process
	number int32  // of the system call
}

// proceed lets the kernel perform an open, and closes fd when it has; the lock is held.
func (p *port) proceed(c *call, fd int) error {
	o := &performed{fd, p.pty, c.n.TID, statusOf(c.n.TID).number("Tgid:", 10), c.n.Data.Number}
	if !c.proceed() {
		_ = unix.Close(fd)
		return errGone
	}
	p.performed = append(p.performed, o)
	p.hanging.Go(func() { // ends soon, or with the port
		tick := time.NewTicker(openLook)
		defer tick.Stop()
		for end := time.Now().Add(openGrace); ; <-tick.C {
			p.mu.Lock()
			if p.ended || time.Now().After(end) {
				p.letGo(func(held *performed) bool { return held == o })
			}
			p.settle()
			left := slices.Contains(p.performed, o)
			p.mu.Unlock()
			if !left {
				return
			}
		}
	})
	return nil
}

// letGo closes what is held for those opens that are over; the lock is held.
func (p *port) letGo(over func(*performed) bool) {
	p.performed = slices.DeleteFunc(p.performed, func(o *performed) bool {
		if !over(o) {
			return false
		}
		_ = unix.Close(o.fd)
		return true
	})
}

// done reports whether the kernel has performed the open: the pty is the controlling terminal of the program's session (a
// master is asked for its slave's, tiocgsid of tty_jobctrl.c), or the thread is somewhere else.
func (o *performed) done() bool {
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
func (p *port) readier(before *opening) func(error) {
	o := &opening{end: time.Now().Add(p.config.OpenWait)}
	if before != nil && !before.done {
		o.end = before.end
	}
	p.opening = o
	ready := func(up bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		o.done, o.up = true, up
		p.wakeUp()
	}
	// Where events wait it is Next's turn: programs that open and close in a loop would fill the queue with that.
	if p.config.OpenWait <= 0 || p.queue.Empty() && p.config.Unsent().Up {
		o.done, o.up = true, true
		return func(error) {}
	}
	timer := time.AfterFunc(time.Until(o.end), func() { ready(false) })
	return func(err error) {
		timer.Stop()
		ready(err == nil)
	}
}
