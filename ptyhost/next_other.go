//go:build darwin || freebsd

package ptyhost

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/devpath"
	"telnetcpc/ptyhost/terminal"
)

// macOS and FreeBSD have no inotify and epoll, so this half of the port is simple: the master is polled each tick, and
// at once when bytes become readable. So an open, a close or a change of settings is detected up to a tick late; a
// program that opens and closes within one tick without writing is missed; and a change is reported before the bytes
// that are read with it.
//
// These systems reset a pty's termios at the last close. A program that opens the port finds the system's default (with
// echo), and a tick later the port's last termios, unless it has set one itself by then. This file builds for these
// systems and follows their manuals; it has not been run on them yet.

const (
	tick     = 50 * time.Millisecond
	readSize = 4096
)

// device is the macOS and FreeBSD half of a port.
type device struct {
	mu     sync.RWMutex // read-locked while the master is used; locked to close it
	done   chan struct{}
	term   *terminal.Terminal
	fresh  unix.Termios // the system's default; constant after start
	opened atomic.Bool  // Next has reported an open, and no close since

	// Used only by Next's goroutine.
	buf      []byte
	data     []byte // read; returned after the event that was found with it
	reported settings
	kept     unix.Termios // the port's last termios, for the next program
}

// start opens the pty and gives it to its owner.
func (p *port) start(access devpath.Access) (err error) {
	p.reported, p.buf, p.done = firstSettings(), make([]byte, readSize), make(chan struct{})
	if p.term, p.fresh, err = terminal.New(access); err != nil {
		return err
	}
	p.kept = p.fresh
	termios.Reset(&p.kept)
	if err := p.term.AllowOpens(); err != nil {
		p.term.Close()
		return err
	}
	return nil
}

// Next implements uart.Port.
func (p *port) Next() ([]byte, uart.Event, error) {
	for {
		b, e, ok, err := p.tryNext()
		if ok || err != nil {
			return b, e, err
		}
	}
}

// tryNext checks the master once and waits for bytes, at most for a tick.
func (p *port) tryNext() (b []byte, e uart.Event, ok bool, err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	select {
	case <-p.done:
		return nil, e, false, uart.ErrClosed
	default:
	}
	if p.data == nil {
		n, err := unix.Read(p.term.Master(), p.buf)
		if n > 0 {
			p.data = p.buf[:n]
		}
		if n <= 0 && err != unix.EAGAIN && err != unix.EINTR { // end of file or EIO: no program has the slave open
			e, ok := p.reportClose()
			return nil, e, ok, nil
		}
	}
	if !p.opened.Swap(true) {
		return nil, uart.Event{Kind: uart.KindOpened}, true, nil
	}
	if e, ok := p.changed(); ok {
		return nil, e, true, nil
	}
	if b, p.data = p.data, nil; b != nil {
		return b, e, true, nil
	}
	p.wait(unix.POLLIN)
	return nil, e, false, nil
}

// reportClose returns the event of the last close, or waits a tick if it was reported before.
func (p *port) reportClose() (uart.Event, bool) {
	if !p.opened.Load() {
		select {
		case <-p.done:
		case <-time.After(tick):
		}
		return uart.Event{}, false
	}
	if e, ok := p.changed(); ok { // made just before the close
		return e, true
	}
	p.opened.Store(false)
	e := uart.Event{Kind: uart.KindClosed}
	p.urgent(e)
	return e, true
}

// changed returns a change of termios, and replaces the system's default termios with the kept one.
func (p *port) changed() (uart.Event, bool) {
	t, err := unix.IoctlGetTermios(p.term.Master(), termios.Get)
	if err != nil {
		return uart.Event{}, false
	}
	if *t == p.fresh {
		kept := p.kept
		_ = unix.IoctlSetTermios(p.term.Master(), termios.Set, &kept)
		return uart.Event{}, false
	}
	p.kept = *t
	p.warn(t)
	now := settingsOf(t).over(p.reported)
	if now == p.reported {
		return uart.Event{}, false
	}
	p.reported = now
	return now.event(), true
}

// wait waits for events of the master, at most for a tick.
func (p *port) wait(events int16) {
	fds := []unix.PollFd{{Fd: int32(p.term.Master()), Events: events}}
	if n, err := unix.Poll(fds, int(tick/time.Millisecond)); err != nil || n > 0 && fds[0].Revents&events == 0 {
		time.Sleep(tick) // hung up, or no poll on this system's ptys: never spin
	}
}

// Write implements uart.Port.
func (p *port) Write(b []byte) (n int, err error) {
	for n < len(b) {
		m, over, err := p.tryWrite(b[n:])
		n += m
		if over || err != nil {
			return n, err
		}
	}
	return n, nil
}

// tryWrite writes what fits, or waits at most for a tick. over: no program has the port open, or Close was called.
func (p *port) tryWrite(b []byte) (n int, over bool, err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	select {
	case <-p.done:
		return 0, true, uart.ErrClosed
	default:
	}
	if !p.opened.Load() {
		return 0, true, nil
	}
	n, err = unix.Write(p.term.Master(), b)
	if err == unix.EAGAIN {
		p.wait(unix.POLLOUT)
	}
	return max(n, 0), false, nil
}

// noteClose does nothing: on these systems the watcher process does not open the slave.
func (*port) noteClose() {}

// closeDevice closes the pty. It waits at most for a tick.
func (p *port) closeDevice() {
	close(p.done)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.term.Close()
}
