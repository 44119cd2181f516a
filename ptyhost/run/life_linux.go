//go:build amd64 || arm64

package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

// Who has the port open. An open of a program that was started here is a call like others: this process opens the slave,
// notes it, and gives the program the descriptor, so no moment is lost. The last close is told by the master, which hangs
// up while nobody has the slave open; no slave is held here. Opens by others, and by paths that nobody here knows, are
// told by inotify, a little late.

// openNow notes the first open; the lock is held. What is in the pty already was written by a program whose open nobody saw:
// it comes behind this.
func (p *port) openNow(ready func(error)) {
	p.open = true
	p.put(uart.Event{Kind: uart.KindOpened, Ready: ready})
	if change := p.edges(true, true); change != (uart.Control{}) && p.termios.Cflag&unix.CBAUD != unix.B0 {
		p.dtr, p.rts = true, true
		p.put(uart.Event{Kind: uart.KindSettings, Control: change})
	}
}

// closeNow notes the last close, which may have been long ago; the lock is held. Nobody writes any more, so all of what
// was written can be taken.
func (p *port) closeNow() {
	p.config.Urgent(uart.Event{Kind: uart.KindClosed})
	p.takeAll()
	p.open = false
	p.period++
	p.errorNext = 0
	p.exclusive = false
	p.timed = nil // whose end would end a break of the next program
	if p.breaking {
		p.sendBreak(false)
	}
	if p.termios.Cflag&unix.HUPCL != 0 {
		p.drive(false, false)
	}
	if crowded := p.queue.Crowded(); !crowded || !p.merged { // else a script that opens and closes would fill the log
		if n := p.queue.Merged(); n > 0 {
			p.log.Warn("control lines or opens went by too fast: only the last of them was sent", "lost", n)
		}
		p.merged, p.overrun = crowded, p.overrun && crowded
	}
	p.add(uart.Event{Kind: uart.KindClosed})
	p.last = visit{end: p.written, owes: true}
	p.clean()
	p.term.PokeWriter() // who waits in Write has nobody to write to
	p.wakeUp()
}

// clean gives the next program a pty without the last one's leavings: bytes that nobody read, an output that ^S or tcflow
// has stopped.
//
// So is TIOCEXCL of a program that was not started here, whose call nobody saw: on a pty the kernel keeps it over the last
// close, where a UART's driver forgets it. The master cannot take it back; a slave can, but without privileges none can be
// opened then, and the port goes on with another pty.
func (p *port) clean() {
	p.pending = nil
	fd, err := p.term.OpenSlave(unix.O_RDWR | unix.O_NONBLOCK)
	if err == unix.EBUSY {
		p.renew()
		return
	}
	if err != nil {
		p.log.Warn("the pty cannot be opened", "device", p.term.Name(), "err", err)
		return
	}
	_ = unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
	_ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH)
	_ = unix.IoctlSetInt(fd, unix.TCXONC, unix.TCOOFF) // TCOON alone undoes no ^S
	_ = unix.IoctlSetInt(fd, unix.TCXONC, unix.TCOON)
	_ = unix.Close(fd)
}

// hangUp is the kernel's hangup of a tty: the carrier is gone. Programs that have the port open read end of file, and whose
// controlling terminal it is get SIGHUP; only opens from now on are good. A pty is hung up by the end of its master, so the
// port goes on with another pty. The lock is held.
func (p *port) hangUp() {
	next, err := p.newPTY()
	if err != nil {
		p.log.Warn("DCD has fallen and the port cannot hang up", "device", p.term.Name(), "err", err)
		return
	}
	p.closeNow()
	p.hangups++
	p.goOn(next)
}

// goOn makes another pty the port's; the lock is held.
func (p *port) goOn(next *pty) {
	now := onPty(p.termios)
	_ = unix.IoctlSetTermios(next.term.Master(), unix.TCSETS2, &now)
	last := p.pty
	p.pty = next
	p.wakeUp()
	p.host.replace(p, last.id)
	if err := p.claim.Relink(p.term.Name(), p.term.Master()); err != nil && !errors.Is(err, fs.ErrClosed) {
		p.log.Warn("the port's path does not lead to it any more", "err", err)
	}
	p.hanging.Go(last.close) // its wait ends only when this lock is free
}

// renew makes a new pty the port's, while nobody has the port open; the lock is held.
func (p *port) renew() {
	next, err := p.newPTY()
	if err != nil {
		p.log.Warn("a program has kept the port for itself, and there is no other pty", "device", p.term.Name(), "err", err)
		return
	}
	p.goOn(next)
}

// openSlave opens the slave for a program. Where a program that was not started here has kept the port for itself, and has
// closed it unseen, that is over. The lock is held.
func (p *port) openSlave(flags int) (fd int, err error) {
	fd, err = p.term.OpenSlave(flags)
	if err != unix.EBUSY || p.open || !p.term.NobodyHas() {
		return fd, err
	}
	if p.hasBytes() {
		p.openNow(func(error) {})
		p.closeNow()
	} else {
		p.renew()
	}
	return p.term.OpenSlave(flags)
}

// opening is a first open that waits for the session.
type opening struct {
	done bool // it waits no more
	up   bool // for there is a session
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

// openGrace is how long the kernel may take with an open that it performs itself.
const openGrace = time.Second

// openFor opens the port for a program: the answer to its call. Flags are those of open(2). real says that the path leads
// to the slave, so that the kernel can perform the open: a descriptor that is given does not become the controlling terminal
// of a session that has none.
func (p *port) openFor(c *call, flags int, real bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ended:
		c.fail(unix.ENOENT) // as of an adapter that was pulled out
		return
	case p.open && p.term.NobodyHas():
		p.closeNow()
	case !p.open && p.queue.Len() > ordered.Limit:
		// What earlier programs wrote has nowhere to go: an open waits, as that of a UART which still sends.
		p.later(c, func() bool { return p.ended || p.open || p.queue.Len() <= ordered.Limit }, func(errno unix.Errno) {
			if errno != 0 {
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
	fd, err := p.openSlave(flags & (unix.O_ACCMODE | unix.O_NONBLOCK | unix.O_SYNC | unix.O_DSYNC))
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	if !p.open {
		p.opening = &opening{}
		p.openNow(p.readier())
	}
	again := func() { p.openFor(c, flags, real) }
	if real && flags&unix.O_NOCTTY == 0 && wantsTerminal(c.n.TID) {
		p.handOver(c, fd, flags, again, func() {
			c.proceed()
			time.AfterFunc(openGrace, func() { _ = unix.Close(fd) }) // until then the port does not look closed
		})
		return
	}
	p.handOver(c, fd, flags, again, func() {
		err := c.inject(fd, flags&unix.O_CLOEXEC != 0)
		_ = unix.Close(fd)
		if err != nil {
			c.fail(errnoOf(err))
		}
	})
}

// handOver gives a program the slave that was opened for it, when the session stands, and as a terminal's driver has it,
// the carrier. hand is called under the lock: whatever the program does next finds our own copies closed. again is called,
// without the lock, where the port is hung up meanwhile: then the open begins anew.
func (p *port) handOver(c *call, fd, flags int, again, hand func()) {
	waits, given := p.opening, false
	p.later(c, func() bool {
		carrier := flags&unix.O_NONBLOCK != 0 || p.termios.Cflag&unix.CLOCAL != 0 || p.modem&uart.DCD != 0
		if !p.ended && (waits != nil && !waits.done || !carrier || p.awaitsLast(waits)) {
			return false
		}
		given, p.last.owes = true, false
		hand()
		return true
	}, func(errno unix.Errno) {
		if given {
			return
		}
		p.mu.Lock()
		_ = unix.Close(fd) // first: a program that gets no descriptor has not opened
		p.mu.Unlock()
		if errno == unix.EIO {
			again()
			return
		}
		c.fail(errno)
	})
}

// readier returns what the session calls when it is up, and lets the open go on without it after OpenWait, or at once where
// one is up already; the lock is held.
func (p *port) readier() func(error) {
	o := p.opening
	ready := func(up bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		o.done, o.up = true, up
		if p.opening == o {
			p.opening = nil
		}
		p.wakeUp()
	}
	// Where events wait it is Next's turn: programs that open and close in a loop would fill the queue with that.
	if p.config.OpenWait <= 0 || p.queue.Empty() && p.config.Unsent().Up {
		o.done, o.up, p.opening = true, true, nil
		return func(error) {}
	}
	timer := time.AfterFunc(p.config.OpenWait, func() { ready(false) })
	return func(err error) {
		timer.Stop()
		ready(err == nil)
	}
}

// watcher notices what no call tells: the last close while nobody calls Next, and opens by others.
type watcher struct {
	set     *os.File // an epoll set, itself in Go's netpoller: no thread waits for it
	inotify int
	ended   chan struct{}
}

// watch starts the watcher's goroutine, which ends by unwatch.
func (p *port) watch(t *pty) error {
	w := &t.watcher
	var err error
	if w.inotify, err = unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC); err != nil {
		return fmt.Errorf("inotify: %w (raise fs.inotify.max_user_instances)", err)
	}
	if _, err = unix.InotifyAddWatch(w.inotify, t.term.Name(), unix.IN_OPEN); err != nil {
		_ = unix.Close(w.inotify)
		return fmt.Errorf("inotify on %s: %w (raise fs.inotify.max_user_watches)", t.term.Name(), err)
	}
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(set, true)
		w.set = os.NewFile(uintptr(set), "watcher of a pty")
	}
	var raw syscall.RawConn
	if err == nil {
		raw, err = w.set.SyscallConn()
	}
	if err == nil {
		err = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, w.inotify, &unix.EpollEvent{Events: unix.EPOLLIN})
	}
	if err == nil { // no event is asked for: a hangup is always told, and only once
		err = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, t.term.Master(), &unix.EpollEvent{Events: unix.EPOLLET})
	}
	if err != nil {
		_ = unix.Close(w.inotify)
		if w.set != nil {
			_ = w.set.Close()
		}
		return fmt.Errorf("epoll: %w", err)
	}
	w.ended = make(chan struct{})
	go func() {
		defer close(w.ended)
		for raw.Read(func(uintptr) bool { return p.notice(t, set) }) == nil {
		}
	}()
	return nil
}

func (t *pty) unwatch() {
	_ = t.watcher.set.Close()
	<-t.watcher.ended
	_ = unix.Close(t.watcher.inotify)
}

// notice deals with what the set tells, and reports whether there was something.
func (p *port) notice(t *pty, set int) bool {
	var events [2]unix.EpollEvent
	if n, _ := unix.EpollWait(set, events[:], 0); n <= 0 {
		return false
	}
	var buf [1024]byte
	opened, _ := unix.Read(t.watcher.inotify, buf[:])
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || t != p.pty {
		return true
	}
	nobody := t.term.NobodyHas()
	if !p.open && opened > 0 && (!nobody || p.hasBytes()) {
		p.openNow(func(error) {})
	}
	if p.open && nobody {
		p.closeNow()
	}
	return true
}

// hasBytes reports whether bytes of a program wait in the pty.
func (p *port) hasBytes() bool {
	n, err := unix.IoctlGetInt(p.term.Master(), unix.TIOCINQ)
	return err == nil && n > 0
}
