package ptyhost

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// How Next and Write wait, and in which order Next tells what it finds.
//
// Both wait in Go's netpoller for the master. What the master does not announce (an open, a change of termios without
// data) the watcher tells by poke: it ends the wait by a deadline in the past, and Next looks at everything anew.
//
// Order: the kernel makes bytes readable by a worker, so they may come later than the notice of a change that was made
// after them; a read of the master waits for that worker, so a read that finds nothing is the truth. The latch says
// what came first. A change that came second is late: it is told when the master has nothing more to read.

const (
	// readSize is the most that Next returns: what a pty's master gives in one read.
	readSize = 4096
	// lateMost bounds a late change: no more bytes than this can have been in the pty before it (22,048 measured).
	lateMost = 32 << 10
)

// device is the Linux half of a port.
type device struct {
	master   *os.File // non-blocking, in the netpoller
	raw      syscall.RawConn
	masterFD int // of master; used by the watcher only before end has closed it
	latch    latch

	// Only Next's.
	buf                   []byte
	late                  bool // a change of termios waits for the bytes before it
	lateLeft              int  // for so many more bytes at most
	toldOpens, toldCloses uint64

	mu     sync.Mutex // over all below: the watcher's view, read by Next and Write; held over system calls that do not wait
	slave  own
	open   bool // somebody has the port open
	opens  uint64
	closes uint64
	told   settings // what Next returned last; Next alone writes it
	ended  bool

	watched // only the watcher's
}

// found is what one look found.
type found struct {
	data  []byte
	event uart.Event
}

// Next implements uart.Port.
func (p *port) Next() ([]byte, uart.Event, error) {
	for {
		var f found
		err := p.raw.Read(func(fd uintptr) (ok bool) {
			f, ok = p.look(int(fd))
			return ok
		})
		switch {
		case err == nil:
			return f.data, f.event, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Poked. Whoever pokes writes down why before he sets the deadline, so the next look finds it.
			_ = p.master.SetReadDeadline(time.Time{})
		case p.isEnded():
			return nil, uart.Event{}, uart.ErrClosed
		default:
			return nil, uart.Event{}, fmt.Errorf("port %s: read the pty: %w", p.claim.path, err)
		}
	}
}

func (p *port) isEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// poke makes Next look anew.
func (p *port) poke() { _ = p.master.SetReadDeadline(time.Unix(1, 0)) }

// look returns the next thing that the application did, if there is one. It never waits.
func (p *port) look(fd int) (found, bool) {
	p.mu.Lock()
	opens, closes := p.opens, p.closes
	p.mu.Unlock()

	if p.toldOpens == p.toldCloses {
		if opens == p.toldOpens {
			return found{}, false
		}
		p.toldOpens++
		return found{event: uart.Event{Kind: uart.KindOpened}}, true
	}
	if now, changed := p.changed(fd); changed {
		if !p.late {
			if first, _ := p.lookAtLatch(); first == noticeWrote {
				p.late, p.lateLeft = true, lateMost
			}
		}
		if !p.late || p.lateLeft <= 0 {
			return p.tell(now), true
		}
	}
	n := readMaster(fd, p.buf)
	if _, changed := p.lookAtLatch(); changed && !p.late {
		p.late, p.lateLeft = true, lateMost
	}
	if n > 0 {
		p.lateLeft -= n
		return found{data: p.buf[:n]}, true
	}
	if now, changed := p.changed(fd); changed {
		return p.tell(now), true
	}
	p.late = false
	if closes > p.toldCloses {
		p.toldCloses++
		return found{event: uart.Event{Kind: uart.KindClosed}}, true
	}
	return found{}, false
}

// readMaster returns how many bytes it has read; 0: there are none (EAGAIN), and maybe nobody has the slave open (EIO).
func readMaster(fd int, buf []byte) int {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return max(n, 0)
		}
	}
}

// lookAtLatch looks under the lock: epoll holds the slave open while it asks it, and a probe must see it closed.
func (p *port) lookAtLatch() (first notice, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latch.look()
}

// changed reads the termios and reports whether it says something else than what was told last.
func (p *port) changed(fd int) (settings, bool) {
	t, err := getTermios(fd)
	if err != nil {
		return settings{}, false
	}
	now, said := decode(t)
	p.remark(said)
	now = now.over(p.told)
	return now, now != p.told
}

// tell makes now what was told last.
func (p *port) tell(now settings) found {
	p.late = false
	p.mu.Lock()
	p.told = now
	p.mu.Unlock()
	return found{event: now.event()}
}

// Write implements uart.Port.
func (p *port) Write(b []byte) (n int, err error) {
	for done := false; !done; {
		err = p.raw.Write(func(fd uintptr) bool {
			var m int
			m, done = p.give(int(fd), b[n:])
			n += m
			done = done || n == len(b)
			return done
		})
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			_ = p.master.SetWriteDeadline(time.Time{}) // the last close: look again who has it open
		case p.isEnded():
			return n, uart.ErrClosed
		default:
			return n, fmt.Errorf("port %s: write to the pty: %w", p.claim.path, err)
		}
	}
	return n, nil
}

// give writes as much as fits, and is over where nobody has the port open. The lock makes the two one step: after a
// last close the watcher empties the pty under it, so that the next application reads nothing stale.
func (p *port) give(fd int, b []byte) (n int, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return 0, true
	}
	for n < len(b) {
		m, err := unix.Write(fd, b[n:])
		if err != nil && err != unix.EINTR {
			break // EAGAIN, or EIO: nobody has the slave open, which the watcher is about to say
		}
		n += max(m, 0)
	}
	return n, false
}

// end closes the device: Next and Write return, and nothing of it is used any more. What start has not made is left out.
func (p *port) end() {
	p.mu.Lock()
	p.ended = true // from here on the watcher leaves it alone
	p.slave.close()
	p.mu.Unlock()
	leave(p)
	if p.master != nil {
		_ = p.master.Close() // waits until the callbacks of Next and Write are over
	}
	_ = unix.Close(p.latch.set)
}
