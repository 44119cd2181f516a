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

// Opens and closes of the port. An open by a program that was started here is a trapped call: this process opens the
// slave, notes the open and adds the descriptor to the program, so the open is known exactly. The last close shows as a
// hangup on the master, which lasts as long as nobody has the slave open; this process keeps no slave open. Opens by
// other programs, and through paths that are not known here, are reported by inotify, a little late.

// noteOpen notes the first open; port.mu is held. It must precede what is still in the pty, which was written by a
// program whose open was not noticed.
func (p *port) noteOpen(ready func(error)) {
	p.opens.open = true
	p.queueEvent(uart.Event{Kind: uart.KindOpened, Ready: ready})
	if change := p.lineChanges(true, true); change != (uart.Control{}) && p.line.termios.Cflag&unix.CBAUD != unix.B0 {
		p.line.dtr, p.line.rts = true, true
		p.queueEvent(uart.Event{Kind: uart.KindSettings, Control: change})
	}
}

// noteUnseenOpen notes that a program has, or had, the port open without a trapped open; port.mu is held.
func (p *port) noteUnseenOpen() {
	if !p.opens.open {
		p.noteOpen(func(error) {})
	}
	p.noteSlaveOpen()
}

// checkLastClose notes the last close if it has happened; port.mu is held. An open that waits has nothing open, as in a
// serial driver (tty_port_block_til_ready in drivers/tty/tty_port.c): it does not delay the last close, and counts as
// the first open after it.
func (p *port) checkLastClose() {
	if p.ended {
		return
	}
	p.releaseKernelOpens(func(o *kernelOpen) bool { return o.of != p.pty || o.done() })
	if !p.opens.open || !p.opens.hadSlave && len(p.opens.waiting) > 0 || !p.term.Unused() {
		return
	}
	before, last := p.opens.opening, p.opens.lastClose
	p.noteLastClose()
	for c := range p.opens.waiting {
		if c.valid() {
			if last.awaited && last.written == p.up.written { // the open still waits for the same bytes
				p.opens.lastClose = last
			}
			p.noteOpen(p.newOpening(before))
			return
		}
	}
}

// noteLastClose notes the last close, which may have happened long ago; port.mu is held. Nobody writes any more, so
// everything written can be taken from the pty.
func (p *port) noteLastClose() {
	p.config.Urgent(uart.Event{Kind: uart.KindClosed})
	p.drainWholePTY()
	p.opens.open, p.opens.hadSlave = false, false
	p.opens.closes++
	p.input.errorNext = 0
	p.line.exclusive = false
	p.line.lastBreak = nil // or its end would end a break of the next program
	if p.line.breaking {
		p.setBreak(false)
	}
	if p.line.termios.Cflag&unix.HUPCL != 0 {
		p.setLines(false, false)
	}
	if crowded := p.up.queue.Crowded(); !crowded || !p.warned.merged { // else a script that opens and closes in a loop would flood the log
		if n := p.up.queue.Merged(); n > 0 {
			p.log.Warn("control lines or opens went by too fast: only the last of them was sent", "lost", n)
		}
		p.warned.merged, p.warned.reordered = crowded, p.warned.reordered && crowded
	}
	p.addEvent(uart.Event{Kind: uart.KindClosed})
	p.opens.opening = nil
	p.opens.lastClose = lastClose{written: p.up.written, awaited: true}
	p.resetPTY()
	p.term.PokeWriter() // a Write that is blocked has nobody to write to
	p.wakeWaiters()
}

// resetPTY removes what the last program has left in the pty: bytes that were not read, output stopped by ^S or tcflow.
//
// It also removes a TIOCEXCL of a program that was not started here, whose call was not trapped: a pty keeps it after
// the last close, a UART's driver does not. It cannot be removed through the master. A slave could, but without
// privileges none can be opened then, so the port switches to another pty.
func (p *port) resetPTY() {
	p.input.pending, p.opens.early = nil, nil
	fd, err := p.term.OpenSlave(unix.O_RDWR | unix.O_NONBLOCK)
	if err == unix.EBUSY {
		p.replacePTY()
		return
	}
	if err != nil {
		p.log.Warn("cannot open the pty", "device", p.term.Name(), "err", err)
		return
	}
	_ = unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
	_ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH)
	_ = unix.IoctlSetInt(fd, unix.TCXONC, unix.TCOOFF) // TCOON alone does not undo ^S
	_ = unix.IoctlSetInt(fd, unix.TCXONC, unix.TCOON)
	_ = unix.Close(fd)
}

// hangUp does what the kernel does when a tty's carrier is lost. Programs that have the port open read end of file, the
// session whose controlling terminal it is gets SIGHUP, and only later opens work. Closing the master is what hangs a
// pty up, so the port switches to another pty. port.mu is held.
func (p *port) hangUp() {
	next, err := p.newPTY()
	if err != nil {
		p.log.Warn("DCD fell, but the port cannot hang up", "device", p.term.Name(), "err", err)
		return
	}
	p.noteLastClose()
	p.hangups++
	p.switchTo(next)
}

// switchTo makes another pty the port's; port.mu is held.
func (p *port) switchTo(next *pty) {
	now := onPty(p.line.termios)
	_ = unix.IoctlSetTermios(next.term.Master(), unix.TCSETS2, &now)
	last := p.pty
	p.pty = next
	p.wakeWaiters()
	p.host.replaceSlave(p, last.id)
	if err := p.claim.Relink(p.term.Name(), p.term.Master()); err != nil && !errors.Is(err, fs.ErrClosed) {
		p.log.Warn("the port's path no longer leads to it", "err", err)
	}
	p.background.Go(last.close) // it waits for the watcher, which takes port.mu
}

// replacePTY switches to a new pty while nobody has the port open; port.mu is held.
func (p *port) replacePTY() {
	next, err := p.newPTY()
	if err != nil {
		p.log.Warn("a program has left the pty exclusive (TIOCEXCL), and there is no other one", "device", p.term.Name(), "err", err)
		return
	}
	p.switchTo(next)
}

// watcher notices what no trapped call shows: the last close while nobody calls Next, and opens by other programs.
type watcher struct {
	set     *os.File // an epoll set, itself in Go's netpoller: no thread blocks in it
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
	if err == nil { // EPOLLHUP is always reported; EPOLLET: once
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

// handleWatch handles what the epoll set reports, and returns whether there was anything.
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
	if opened > 0 && !p.opens.hadSlave && (!t.term.Unused() || p.hasUnread()) {
		p.noteUnseenOpen()
	}
	p.checkLastClose()
	return true
}

// hasUnread reports whether bytes from a program are in the pty.
func (p *port) hasUnread() bool {
	n, err := unix.IoctlGetInt(p.term.Master(), unix.TIOCINQ)
	return err == nil && n > 0
}
