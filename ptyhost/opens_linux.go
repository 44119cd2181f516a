package ptyhost

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// Two sources report whether programs have a port open; neither suffices alone.
//
// inotify reports each open and close of the slave. But it merges equal successive events (two opens become one), may
// overflow, reports our own opens too, and reports a close before the tty has counted it: measured, the fastest reader
// polls too early in 16 of 100 closes.
//
// The master has POLLHUP while no process has the slave open: that is exact, but our own slave counts too. So the port
// closes it for a moment, polls, and opens it again: this is a probe, of about 10 microseconds.
//
// They are combined as follows: an inotify event that was read before the poll is covered by the poll's result; if the
// slave is closed then, so is every close that was reported before it. Our own close is always among those, and our own
// open is removed just after the poll. So any other open or close is the application's, with one exception: an open
// between the poll and the removal merges with our own. Therefore further probes follow, at growing intervals; they
// also find the close that the tty counted late.
const (
	firstGap  = time.Millisecond
	gapGrowth = 8
	lastGap   = time.Minute
	// noSlaveGap is the longest interval while the port's own slave could not be opened again.
	noSlaveGap = 250 * time.Millisecond
)

// updateOpen updates whether p is open, and wakes Next and Write after a last close. Only the watcher's goroutine calls
// it.
func (w *watcher) updateOpen(p *port, now time.Time) {
	for w.checkOpen(p, now) {
		p.wakeNext()
		p.term.PokeWriter() // no program is left to write to
	}
}

// checkOpen processes what inotify has reported about p, and a probe that is due. It returns true after a last close.
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
			p.probeGap, p.nextProbe = firstGap, now
		}
		if p.nextProbe.IsZero() || now.Before(p.nextProbe) {
			return false
		}
		unused, empty := w.probe(p)
		if !p.open && !unused {
			unused, empty = w.probe(p) // an epoll set that polled our slave at that moment held it open
		}
		p.settleDoubt()
		p.nextProbe = now.Add(p.probeGap)
		p.probeGap = min(p.probeGap*gapGrowth, lastGap)
		if !p.slave.isOpen() {
			p.probeGap = min(p.probeGap, noSlaveGap)
		}
		switch {
		case !p.open && (!unused || p.reportedCloses == p.closes && hasBytes(p.term.Master())):
			p.noteOpen() // bytes although no slave is open: opened and closed, and inotify lost both
			if unused {
				p.nextProbe = now
			}
		case unused && p.open:
			p.open = false
			p.clear()
			// Urgent is called before Next can report the close; both happen before Next can read what the next program
			// writes.
			p.urgent(uart.Event{Kind: uart.KindClosed})
			p.closes++
			p.drained = empty
			return true
		}
	}
	return false
}

// settleDoubt wakes a Write that waits to know whether the port is open; the caller holds mu. If the probe has found
// the slave open, noteOpen is called before mu is released.
func (p *port) settleDoubt() {
	p.doubt = false
	if p.writeAsks.Swap(false) {
		p.term.PokeWriter()
	}
}

// noteOpen records the first open; the caller holds mu.
func (p *port) noteOpen() {
	p.open = true
	p.opens++
	p.nextProbe = time.Time{}
	p.settleDoubt()
	p.wakeNext()
}

// probe reports whether no other process has the slave open, and if so whether there was nothing to read; the caller
// holds mu. inotify events that arrive during the probe are in p.pending.
func (w *watcher) probe(p *port) (unused, empty bool) {
	exclusive := p.liftExclusive()
	before := p.order.take() // closing the slave removes its notices
	p.slave.close()
	w.drain()
	early := p.pending // covered by the poll that follows
	p.pending = 0
	unused = p.term.NobodyHas()
	empty = unused && !readable(p.term.Master())
	came := uint32(0) // IN_OPEN: an open after the poll, or one that the poll has missed
	if unused {
		// inotify reports a close before the tty counts it, so all closes that the poll counted are queued now. If they
		// were read later, they would count as an open and close by another program.
		w.drain()
		if came = p.pending & unix.IN_OPEN; came == 0 {
			p.pending = 0
		}
	}
	if unused && p.hungUp {
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
		// Without a notice, the change came while no slave was open to report it, and so before anything reported from
		// here on.
		p.keptOrder = before.earlier()
	}
	w.drain()
	p.pending = p.pending&^unix.IN_OPEN | came // without our own open, and any that merged with it
	if !p.open && early&unix.IN_OPEN != 0 {
		p.noteOpen() // and closed again, if no process has it open now
	}
	if err != nil {
		p.warnNoSlave(err)
		return unused, empty
	}
	if exclusive && !unused {
		_ = unix.IoctlSetInt(p.slave.fd, unix.TIOCEXCL, 0)
	}
	return unused, empty
}

// hasBytes reports whether bytes from an application can be read.
func hasBytes(master int) bool {
	n, err := unix.IoctlGetInt(master, unix.TIOCINQ)
	return err == nil && n > 0
}

// readable reports whether there is anything to read. poll(2) waits for the kernel's worker that makes bytes readable,
// so false is exact.
func readable(master int) bool {
	p := []unix.PollFd{{Fd: int32(master), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err != nil || n > 0 && p[0].Revents&unix.POLLIN != 0
}

// liftExclusive clears an application's TIOCEXCL while we open the slave again, and reports whether it was set. On a
// pty the kernel keeps the flag after the last close: it would lock out everyone but root until the pty is closed.
func (p *port) liftExclusive() (exclusive bool) {
	if !p.slave.isOpen() {
		return false
	}
	set, err := unix.IoctlGetInt(p.slave.fd, unix.TIOCGEXCL)
	if err == unix.EIO {
		p.hungUp = true // after a vhangup the epoll event may be missing
	}
	if err != nil || set == 0 {
		return false
	}
	_ = unix.IoctlSetInt(p.slave.fd, unix.TIOCNXCL, 0)
	return true
}

// warnNoSlave logs that the port's own slave could not be opened again, once, except in the rare case that an
// application opened it in between and set TIOCEXCL (EBUSY). Until a later probe succeeds, the sweep and each read find
// changes of termios, and inotify still reports the last close.
func (p *port) warnNoSlave(err error) {
	if errors.Is(err, unix.EBUSY) || p.warnedLate {
		return
	}
	p.warnedLate = true
	p.log.Warn("settings may be noticed late", "device", p.term.Name(), "err", err)
}

// clear removes what the last application left in the pty: bytes from the device that it has not read, and an output
// stopped by ^S or tcflow.
func (p *port) clear() {
	if !p.slave.isOpen() {
		return
	}
	_ = unix.IoctlSetInt(p.slave.fd, unix.TCFLSH, unix.TCIFLUSH)
	// TCOON undoes a ^S only after TCOOFF, and a ^S stops the output only with IXON. Without IXON there is no TCOOFF:
	// the next program may be writing already, and its non-blocking write would fail with EAGAIN.
	var t unix.Termios
	if !p.term.Termios(&t) || t.Iflag&unix.IXON != 0 {
		_ = unix.IoctlSetInt(p.slave.fd, unix.TCXONC, unix.TCOOFF)
	}
	_ = unix.IoctlSetInt(p.slave.fd, unix.TCXONC, unix.TCOON)
	_ = p.order.take() // these ioctls have added notices that are not the next application's
}
