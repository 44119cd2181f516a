package ptyhost

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// Who has a port open is known by two witnesses, neither of which is enough.
//
// inotify tells of each open and close of the slave, but merges equal neighbours (two opens, one event), may overflow,
// tells of our own too, and tells of a close before the tty has counted it: measured, in 16 of 100 closes the fastest
// reader comes too early.
//
// The master has POLLHUP while nobody at all has the slave open: exact, but our own slave is somebody. So the port drops
// it for a moment, looks, and opens it again: a probe, some 10 microseconds.
//
// How the two are joined: every event that is read before the look is covered by the look, and where that finds nobody, every
// close that was told before it. Our own close is always among those, and our own open is taken out right after it. So an open or close that is found anywhere else is the
// application's, with one exception: an open between the look and the taking out merges with our own. Therefore a probe
// is followed by further ones, at growing gaps; they also find the close that the tty counted late.
const (
	firstGap  = time.Millisecond
	gapGrowth = 8
	lastGap   = time.Minute
	// bareGap is the most while the own slave could not be opened again.
	bareGap = 250 * time.Millisecond
)

// tend finds out whether p is open, and tells Next. Only the watcher's goroutine calls it.
func (w *watcher) tend(p *port, now time.Time) {
	for w.look(p, now) {
		p.poke()
		p.term.PokeWriter() // a blocked Write has nobody to write to
	}
}

// look deals with what inotify has told of p, and with a probe that is due. It reports a last close.
func (w *watcher) look(p *port, now time.Time) (closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.ended {
		seen := p.pending
		p.pending = 0
		if !p.open && seen != 0 {
			p.opened()
		}
		if seen&unix.IN_CLOSE != 0 || p.asked.Load() {
			p.gap, p.again = firstGap, now
		}
		if p.again.IsZero() || now.Before(p.again) {
			return false
		}
		nobody, empty := w.probe(p)
		if !p.open && !nobody {
			nobody, empty = w.probe(p) // an epoll set that asked our slave just then held it open
		}
		p.answer()
		p.again = now.Add(p.gap)
		p.gap = min(p.gap*gapGrowth, lastGap)
		if !p.slave.held() {
			p.gap = min(p.gap, bareGap)
		}
		switch {
		case !p.open && (!nobody || p.toldCloses == p.closes && hasBytes(p.term.Master())):
			p.opened() // with bytes: and closed again, by somebody whom inotify has lost
			if nobody {
				p.again = now
			}
		case nobody && p.open:
			p.open = false
			p.clear()
			// Called out before Next can have told it; and both before Next can read what the next program writes.
			p.urgent(uart.Event{Kind: uart.KindClosed})
			p.closes++
			p.drained = empty
			return true
		}
	}
	return false
}

// answer lets a Write that has asked go on, now that it is known who has the port; the lock is held. Where the probe has
// found somebody it is noted before the lock is given back.
func (p *port) answer() {
	p.doubt = false
	if p.asked.Swap(false) {
		p.term.PokeWriter()
	}
}

// opened notes the first open; the lock is held.
func (p *port) opened() {
	p.open = true
	p.opens++
	p.again = time.Time{}
	p.answer()
	p.poke()
}

// probe reports whether nobody but us has the slave open, and then whether there was nothing to read; the lock is held. What
// comes while it runs is in p.pending.
func (w *watcher) probe(p *port) (nobody, empty bool) {
	exclusive := p.shareSlave()
	marks := p.latch.look() // it goes with the slave
	p.slave.close()
	w.drain()
	early := p.pending // all of it is covered by the look that follows
	p.pending = 0
	nobody = p.term.NobodyHas()
	empty = nobody && !readable(p.term.Master())
	came := uint32(0) // an open after the look, or one that the read before it has missed
	if nobody {
		// inotify tells of a close before the tty counts it: what it has told of those that count is here now. Read later it
		// would be taken for a visit.
		w.drain()
		if came = p.pending & unix.IN_OPEN; came == 0 {
			p.pending = 0
		}
	}
	if nobody && p.hungUp {
		p.hungUp = p.term.Reset() != nil
	}
	var err error
	if p.slave, err = openOwn(p.term); err == nil {
		err = w.watchSlave(p)
	}
	if err == nil {
		err = p.latch.add(p.slave.fd, p.slave.twin)
	}
	if p.kept == 0 && p.differs() {
		p.kept = marks.order() // without a mark: it came while there was no slave to tell of it, before what is told from here on
	}
	w.drain()
	p.pending = p.pending&^unix.IN_OPEN | came // not our own, and whoever came with it
	if !p.open && early&unix.IN_OPEN != 0 {
		p.opened() // and has closed again, if nobody has it now
	}
	if err != nil {
		p.withoutOwn(err)
		return nobody, empty
	}
	if exclusive && !nobody {
		_ = unix.IoctlSetInt(p.slave.fd, unix.TIOCEXCL, 0)
	}
	return nobody, empty
}

// hasBytes reports whether bytes of an application wait to be read.
func hasBytes(master int) bool {
	n, err := unix.IoctlGetInt(master, unix.TIOCINQ)
	return err == nil && n > 0
}

// readable reports whether there is anything to read, and waits for the kernel's worker that makes bytes readable: no is the
// truth.
func readable(master int) bool {
	p := []unix.PollFd{{Fd: int32(master), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err != nil || n > 0 && p[0].Revents&unix.POLLIN != 0
}

// shareSlave takes back an application's TIOCEXCL for the moment in which we open the slave anew, and reports whether
// there was one. On a pty the kernel keeps it over the last close: it would lock out everybody but root for good.
func (p *port) shareSlave() (exclusive bool) {
	if !p.slave.held() {
		return false
	}
	set, err := unix.IoctlGetInt(p.slave.fd, unix.TIOCGEXCL)
	if err == unix.EIO {
		p.hungUp = true // vhangup has no notice that is sure to come
	}
	if err != nil || set == 0 {
		return false
	}
	_ = unix.IoctlSetInt(p.slave.fd, unix.TIOCNXCL, 0)
	return true
}

// withoutOwn is the rare case that the own slave could not be opened again: an application has come in between and
// wants the port for itself. Until a later probe succeeds, changes of termios are found by the sweep and at each read,
// and the last close by inotify as ever.
func (p *port) withoutOwn(err error) {
	if errors.Is(err, unix.EBUSY) || p.lateLogged {
		return
	}
	p.lateLogged = true
	p.log.Warn("settings may be noticed late", "device", p.term.Name(), "err", err)
}

// clear gives the next application a pty without the last one's leavings: bytes from the device that nobody read, and
// an output that ^S or tcflow has stopped.
func (p *port) clear() {
	if !p.slave.held() {
		return
	}
	_ = unix.IoctlSetInt(p.slave.fd, unix.TCFLSH, unix.TCIFLUSH)
	// TCOON alone undoes no ^S, and only IXON lets a ^S stop anything. The output is not stopped without need: the next
	// program may be writing already, and a write that does not wait would fail with EAGAIN.
	var t unix.Termios
	if !p.term.Termios(&t) || t.Iflag&unix.IXON != 0 {
		_ = unix.IoctlSetInt(p.slave.fd, unix.TCXONC, unix.TCOOFF)
	}
	_ = unix.IoctlSetInt(p.slave.fd, unix.TCXONC, unix.TCOON)
	_ = p.latch.look() // both have left marks there that are not the next application's
}
