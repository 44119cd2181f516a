package ptyhost

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// Two sources report whether programs have a port open, and neither is enough.
//
// inotify reports each open and close of the slave. But it merges equal neighbours (two opens, one event), may overflow,
// reports our own opens too, and reports a close before the tty has counted it: measured, in 16 of 100 closes the fastest
// reader comes too early.
//
// The master has POLLHUP while no process has the slave open: exact, but our own slave counts too. So the port closes it for
// a moment, polls, and opens it again: a probe, some 10 microseconds.
//
// The two are combined like this: an inotify event that was read before the poll is covered by the poll's result; if that
// finds nobody, so is every close that was reported before it. Our own close is always among those, and our own open is removed
// right after it. So any other open or close is the application's, with one exception: an open between the poll and the
// removal merges with our own. Therefore further probes follow, at growing intervals; they also find the close that the tty
// counted late.
const (
	firstGap  = time.Millisecond
	gapGrowth = 8
	lastGap   = time.Minute
	// noSlaveGap is the longest interval while the own slave could not be opened again.
	noSlaveGap = 250 * time.Millisecond
)

// tend finds out whether p is open, and wakes Next and Write after a last close. Only the watcher's goroutine calls it.
func (w *watcher) tend(p *port, now time.Time) {
	for w.checkOpen(p, now) {
		p.wakeNext()
		p.term.PokeWriter() // nobody is left to write to
	}
}

// checkOpen processes what inotify has reported about p, and a probe that is due. It reports a last close.
func (w *watcher) checkOpen(p *port, now time.Time) (closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed {
		seen := p.pending
		p.pending = 0
		if !p.open && seen != 0 {
			p.noteOpen()
		}
		if seen&unix.IN_CLOSE != 0 || p.writeAsks.Load() {
			p.gap, p.again = firstGap, now
		}
		if p.again.IsZero() || now.Before(p.again) {
			return false
		}
		nobody, empty := w.probe(p)
		if !p.open && !nobody {
			nobody, empty = w.probe(p) // an epoll set that polled our slave just then held it open
		}
		p.settleDoubt()
		p.again = now.Add(p.gap)
		p.gap = min(p.gap*gapGrowth, lastGap)
		if !p.slave.isOpen() {
			p.gap = min(p.gap, noSlaveGap)
		}
		switch {
		case !p.open && (!nobody || p.reportedCloses == p.closes && hasBytes(p.term.Master())):
			p.noteOpen() // bytes but nobody there: opened and closed, and inotify lost both
			if nobody {
				p.again = now
			}
		case nobody && p.open:
			p.open = false
			p.clear()
			// Urgent comes before Next can report the close; both come before Next can read what the next program writes.
			p.urgent(uart.Event{Kind: uart.KindClosed})
			p.closes++
			p.drained = empty
			return true
		}
	}
	return false
}

// settleDoubt lets a Write go on that waits to know whether the port is open; the lock is held. If the probe has found
// somebody, noteOpen is called before the lock is released.
func (p *port) settleDoubt() {
	p.doubt = false
	if p.writeAsks.Swap(false) {
		p.term.PokeWriter()
	}
}

// noteOpen notes the first open; the lock is held.
func (p *port) noteOpen() {
	p.open = true
	p.opens++
	p.again = time.Time{}
	p.settleDoubt()
	p.wakeNext()
}

// probe reports whether nobody but us has the slave open, and if so whether there was nothing to read; the lock is held.
// inotify events that come during the probe are in p.pending.
func (w *watcher) probe(p *port) (nobody, empty bool) {
	exclusive := p.liftExclusive()
	before := p.order.take() // its list goes with the slave
	p.slave.close()
	w.drain()
	early := p.pending // the poll that follows covers all of it
	p.pending = 0
	nobody = p.term.NobodyHas()
	empty = nobody && !readable(p.term.Master())
	came := uint32(0) // an open after the poll, or one that the poll has missed
	if nobody {
		// inotify reports a close before the tty counts it: the reports of all closes that the poll counted are here now. If
		// they were read later, they would count as an open and close by another program.
		w.drain()
		if came = p.pending & unix.IN_OPEN; came == 0 {
			p.pending = 0
		}
	}
	if nobody && p.hungUp {
		p.hungUp = p.term.Reset() != nil
	}
	var err error
	if p.slave, err = openSlave(p.term); err == nil {
		err = w.watchSlave(p)
	}
	if err == nil {
		err = p.order.add(p.slave)
	}
	if p.keptOrder == 0 && p.differs() {
		// Without a notice the change came while no slave was open to report it, so before what is reported from here on.
		p.keptOrder = before.earlier()
	}
	w.drain()
	p.pending = p.pending&^unix.IN_OPEN | came // without our own open, and any that merged with it
	if !p.open && early&unix.IN_OPEN != 0 {
		p.noteOpen() // and closed again, if nobody has it now
	}
	if err != nil {
		p.warnNoSlave(err)
		return nobody, empty
	}
	if exclusive && !nobody {
		_ = unix.IoctlSetInt(p.slave.fd, unix.TIOCEXCL, 0)
	}
	return nobody, empty
}

// hasBytes reports whether bytes from an application can be read.
func hasBytes(master int) bool {
	n, err := unix.IoctlGetInt(master, unix.TIOCINQ)
	return err == nil && n > 0
}

// readable reports whether there is anything to read. It waits for the kernel's worker that makes bytes readable, so false is
// exact.
func readable(master int) bool {
	p := []unix.PollFd{{Fd: int32(master), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err != nil || n > 0 && p[0].Revents&unix.POLLIN != 0
}

// liftExclusive takes back an application's TIOCEXCL for the moment in which we open the slave again, and reports whether
// it was set. On a pty the kernel keeps the flag after the last close: it would lock out everyone but root for good.
func (p *port) liftExclusive() (exclusive bool) {
	if !p.slave.isOpen() {
		return false
	}
	set, err := unix.IoctlGetInt(p.slave.fd, unix.TIOCGEXCL)
	if err == unix.EIO {
		p.hungUp = true // the notice of a vhangup may not come
	}
	if err != nil || set == 0 {
		return false
	}
	_ = unix.IoctlSetInt(p.slave.fd, unix.TIOCNXCL, 0)
	return true
}

// warnNoSlave handles the rare case that the own slave could not be opened again because an application opened it in between
// and set TIOCEXCL. Until a later probe succeeds, the sweep and each read find changes of termios, and inotify still reports
// the last close.
func (p *port) warnNoSlave(err error) {
	if errors.Is(err, unix.EBUSY) || p.warnedLate {
		return
	}
	p.warnedLate = true
	p.log.Warn("settings may be noticed late", "device", p.term.Name(), "err", err)
}

// clear removes what the last application left in the pty: bytes from the device that nobody read, and an output that ^S or
// tcflow has stopped.
func (p *port) clear() {
	if !p.slave.isOpen() {
		return
	}
	_ = unix.IoctlSetInt(p.slave.fd, unix.TCFLSH, unix.TCIFLUSH)
	// TCOON alone does not undo a ^S, and only with IXON does a ^S stop anything. The output is not stopped without need: the
	// next program may be writing already, and a non-blocking write would fail with EAGAIN.
	var t unix.Termios
	if !p.term.Termios(&t) || t.Iflag&unix.IXON != 0 {
		_ = unix.IoctlSetInt(p.slave.fd, unix.TCXONC, unix.TCOOFF)
	}
	_ = unix.IoctlSetInt(p.slave.fd, unix.TCXONC, unix.TCOON)
	_ = p.order.take() // both have left notices that are not the next application's
}
