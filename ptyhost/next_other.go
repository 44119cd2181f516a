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

// What macOS and FreeBSD offer, kept small: the master is looked at each tick, and at once when bytes come. So an open,
// a close or a change of settings is noticed up to a tick late; a program that opens and closes within one tick
// without writing is not seen; and a change is told before the bytes that are read with it.
//
// These systems forget a pty's termios at the last close. A program that opens the port finds the system's own (with
// echo), and a tick later what the port had, unless it has set something itself by then. It has been built for these
// systems and read against their manuals; on them it has not been run yet.

const (
	tick     = 50 * time.Millisecond
	readSize = 4096
)

// device is a port's half that knows the system.
type device struct {
	mu     sync.RWMutex // the descriptor stays open while it is read-locked and done is not closed
	done   chan struct{}
	term   *terminal.Terminal
	fresh  unix.Termios // the system's own
	opened atomic.Bool  // Next has told so

	// Only Next's.
	buf  []byte
	data []byte // read, and told after the event that was found with it
	told settings
	kept unix.Termios // what the port's next user shall find
}

// start makes the pty and gives it to its owner.
func (p *port) start(access devpath.Access) (err error) {
	p.told, p.buf, p.done = firstSettings(), make([]byte, readSize), make(chan struct{})
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
		b, e, ok, err := p.look()
		if ok || err != nil {
			return b, e, err
		}
	}
}

// look is one look at the master; it waits for bytes for a tick at most.
func (p *port) look() (b []byte, e uart.Event, ok bool, err error) {
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
		if n <= 0 && err != unix.EAGAIN && err != unix.EINTR { // end of file or EIO: nobody has the slave open
			e, ok := p.nobody()
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

// nobody tells the last close, or waits a tick.
func (p *port) nobody() (uart.Event, bool) {
	if !p.opened.Load() {
		select {
		case <-p.done:
		case <-time.After(tick):
		}
		return uart.Event{}, false
	}
	if e, ok := p.changed(); ok { // right before the close
		return e, true
	}
	p.opened.Store(false)
	e := uart.Event{Kind: uart.KindClosed}
	p.urgent(e)
	return e, true
}

// changed looks whether the termios says something new, and puts the kept one in the place of the system's own.
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
	now := settingsOf(t).over(p.told)
	if now == p.told {
		return uart.Event{}, false
	}
	p.told = now
	return now.event(), true
}

// wait waits for the master, a tick at most.
func (p *port) wait(events int16) {
	fds := []unix.PollFd{{Fd: int32(p.term.Master()), Events: events}}
	if n, err := unix.Poll(fds, int(tick/time.Millisecond)); err != nil || n > 0 && fds[0].Revents&events == 0 {
		time.Sleep(tick) // hung up, or no poll on this system's ptys: never spin
	}
}

// Write implements uart.Port.
func (p *port) Write(b []byte) (n int, err error) {
	for n < len(b) {
		m, over, err := p.give(b[n:])
		n += m
		if over || err != nil {
			return n, err
		}
	}
	return n, nil
}

// give writes what fits, or waits for a tick at most; it is over where nobody has the port open.
func (p *port) give(b []byte) (n int, over bool, err error) {
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

// noteEnd does nothing: the watcher process opens no slave here.
func (*port) noteEnd() {}

// end closes the device. It waits for a tick at most.
func (p *port) end() {
	close(p.done)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.term.Close()
}
