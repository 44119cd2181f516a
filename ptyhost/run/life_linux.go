//go:build amd64 || arm64

package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// Who has the port open. An open of a program that was started here is a call like others: this process opens the slave,
// notes it, and gives the program the descriptor, so no moment is lost. The last close is told by the master, which hangs
// up while nobody has the slave open; no slave is held here. Opens by others, and by paths that nobody here knows, are
// told by inotify, a little late.

// openNow notes the first open; the lock is held. What is in the pty already was written by a program whose open nobody saw:
// it comes after this.
func (p *port) noteOpen(ready func(error)) {
	p.opens.open = true
	p.queueEvent(uart.Event{Kind: uart.KindOpened, Ready: ready})
	if change := p.lineChanges(true, true); change != (uart.Control{}) && p.line.termios.Cflag&unix.CBAUD != unix.B0 {
		p.line.dtr, p.line.rts = true, true
		p.queueEvent(uart.Event{Kind: uart.KindSettings, Control: change})
	}
}

// sees notes that a program has the port open, or had it, whose open was not this process's to answer; the lock is held.
func (p *port) noteUnseenOpen() {
	if !p.opens.open {
		p.noteOpen(func(error) {})
	}
	p.noteSlaveOpen()
}

// settle notes the last close, where it has come; the lock is held. An open that waits has nothing open, as in a serial
// driver (tty_port_block_til_ready): it hides no close, and is the first open of what comes after that.
func (p *port) checkLastClose() {
	if p.ended {
		return
	}
	p.releaseKernelOpens(func(o *kernelOpen) bool { return o.of != p.pty || o.done() })
	if !p.opens.open || !p.opens.hadSlave && len(p.opens.waiting) > 0 || !p.term.NobodyHas() {
		return
	}
	before, last := p.opens.opening, p.opens.lastClose
	p.noteLastClose()
	for c := range p.opens.waiting {
		if c.valid() {
			if last.awaited && last.written == p.up.written { // the open goes on waiting for the same bytes
				p.opens.lastClose = last
			}
			p.noteOpen(p.newOpening(before))
			return
		}
	}
}

// closeNow notes the last close, which may have been long ago; the lock is held. Nobody writes any more, so all of what
// was written can be taken.
func (p *port) noteLastClose() {
	p.config.Urgent(uart.Event{Kind: uart.KindClosed})
	p.drainWholePTY()
	p.opens.open, p.opens.hadSlave = false, false
	p.opens.closes++
	p.input.errorNext = 0
	p.line.exclusive = false
	p.line.lastBreak = nil // whose end would end a break of the next program
	if p.line.breaking {
		p.setBreak(false)
	}
	if p.line.termios.Cflag&unix.HUPCL != 0 {
		p.setLines(false, false)
	}
	if crowded := p.up.queue.Crowded(); !crowded || !p.warned.merged { // else a script that opens and closes would fill the log
		if n := p.up.queue.Merged(); n > 0 {
			p.log.Warn("control lines or opens went by too fast: only the last of them was sent", "lost", n)
		}
		p.warned.merged, p.warned.reordered = crowded, p.warned.reordered && crowded
	}
	p.addEvent(uart.Event{Kind: uart.KindClosed})
	p.opens.opening = nil
	p.opens.lastClose = lastClose{written: p.up.written, awaited: true}
	p.resetPTY()
	p.term.PokeWriter() // who waits in Write has nobody to write to
	p.wakeWaiters()
}

// clean gives the next program a pty without the last one's leavings: bytes that nobody read, an output that ^S or tcflow
// has stopped.
//
// So is TIOCEXCL of a program that was not started here, whose call nobody saw: on a pty the kernel keeps it over the last
// close, where a UART's driver forgets it. The master cannot take it back; a slave can, but without privileges none can be
// opened then, and the port goes on with another pty.
func (p *port) resetPTY() {
	p.input.pending, p.opens.early = nil, nil
	fd, err := p.term.OpenSlave(unix.O_RDWR | unix.O_NONBLOCK)
	if err == unix.EBUSY {
		p.replacePTY()
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
	p.noteLastClose()
	p.hangups++
	p.switchTo(next)
}

// goOn makes another pty the port's; the lock is held.
func (p *port) switchTo(next *pty) {
	now := onPty(p.line.termios)
	_ = unix.IoctlSetTermios(next.term.Master(), unix.TCSETS2, &now)
	last := p.pty
	p.pty = next
	p.wakeWaiters()
	p.host.replaceSlave(p, last.id)
	if err := p.claim.Relink(p.term.Name(), p.term.Master()); err != nil && !errors.Is(err, fs.ErrClosed) {
		p.log.Warn("the port's path does not lead to it any more", "err", err)
	}
	p.background.Go(last.close) // its wait ends only when this lock is free
}

// renew makes a new pty the port's, while nobody has the port open; the lock is held.
func (p *port) replacePTY() {
	next, err := p.newPTY()
	if err != nil {
		p.log.Warn("a program has kept the port for itself, and there is no other pty", "device", p.term.Name(), "err", err)
		return
	}
	p.switchTo(next)
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
		for raw.Read(func(uintptr) bool { return p.handleWatch(t, set) }) == nil {
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
func (p *port) handleWatch(t *pty, set int) bool {
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
	if opened > 0 && !p.opens.hadSlave && (!t.term.NobodyHas() || p.hasUnread()) {
		p.noteUnseenOpen()
	}
	p.checkLastClose()
	return true
}

// hasBytes reports whether bytes of a program wait in the pty.
func (p *port) hasUnread() bool {
	n, err := unix.IoctlGetInt(p.term.Master(), unix.TIOCINQ)
	return err == nil && n > 0
}
