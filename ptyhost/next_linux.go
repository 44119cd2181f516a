package ptyhost

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/terminal"
)

// How Next decides what came first. Package terminal waits for the master; for what the master does not announce (an
// open, a change of termios without data) the watcher pokes the reader, and Next checks everything again.
//
// A kernel worker makes bytes readable, so they may become readable later than the notice of a change that was made
// after them. A read of the master waits for that worker, so a read that returns nothing is exact. Therefore each try
// reads first, then takes the notices from order and compares the termios. A change that came before the bytes is
// reported before them; the bytes are held back for the following Next. A change that came after them is late: it is
// reported when the master has nothing more to read.

const (
	// readSize is the most bytes that one read of a pty's master returns.
	readSize = 4096
	// readMore is how many bytes a read must return to be followed by another one before Next returns: with bulk data
	// each result of Next costs a write to the session, with single bytes each further read costs a system call.
	readMore = readSize / 2
	// bufSize is the most bytes that Next returns; a larger buffer gained nothing.
	bufSize = 3 * readSize
	// maxLate bounds a late change, in bytes: no more than this can have been in the pty before it (22,048 measured).
	maxLate = 32 << 10
)

// bufs are the buffers that Next lends. A port has one only while it has bytes, because most ports are idle most of the time.
var bufs = sync.Pool{New: func() any { return new([bufSize]byte) }}

// device is the Linux half of a port.
type device struct {
	term  *terminal.Terminal
	order order

	reader // used only by Next's goroutine
	writer // used only by Write's goroutine

	// mu guards everything below except watched: the watcher's state, which Next and Write read. It is held during
	// system calls that do not block.
	mu     sync.Mutex
	closed bool // Close has begun
	slave  ownSlave

	open    bool // a program has the port open
	opens   uint64
	closes  uint64
	drained bool // the master was empty at the last close: later bytes are the next program's
	// doubt: bytes were read while the port was not open. They are the last program's, or those of one whose open has
	// not been detected yet. Write then has the watcher probe before it concludes that no program has the port open.
	doubt bool

	reported       settings // the last ones that Next has returned; only Next changes it
	reportedCloses uint64   // how many closes Next has returned; only Next changes it. While below closes, bytes are the last program's
	keptOrder      notice   // which came first, the bytes or an unreported change, if order was emptied since; 0: unknown

	stalls uint64 // how often Write found no room
	full   bool   // Write waits for room

	watched // the watcher's state of this port
}

// reader is Next's state. Only Next's goroutine uses it.
type reader struct {
	result result         // of the last try
	buf    *[bufSize]byte // lent; nil: none
	held   []byte         // part of buf: bytes held back because a change came before them

	late     bool // a change of termios waits until the bytes before it are read
	lateLeft int  // it waits for at most so many more bytes
	stale    bool // order may have a notice for bytes that Next has returned already
	poked    bool // the termios may have changed without bytes

	reportedOpens uint64
}

// result is what Next returns.
type result struct {
	data  []byte
	event uart.Event
}

// writer is the Write in progress. Only its goroutine uses it.
type writer struct {
	bytes   []byte
	written int
	forOpen uint64 // the value of opens that it writes for; 0: nothing written yet
}

// Next implements uart.Port.
func (p *port) Next() ([]byte, uart.Event, error) {
	for {
		err := p.term.WaitRead()
		switch {
		case err == nil:
			return p.result.data, p.result.event, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Poked. The reason was recorded before the poke, so the next try finds it.
			p.term.UnpokeReader()
			p.poked = true
		case p.isClosed():
			return nil, uart.Event{}, uart.ErrClosed
		default:
			return nil, uart.Event{}, fmt.Errorf("port %s: read the pty: %w", p.claim.Path(), err)
		}
	}
}

func (p *port) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// wakeNext makes Next check everything again.
func (p *port) wakeNext() { p.term.PokeReader() }

// tryNext puts the application's next action into p.result and reports whether there was one. It never blocks.
func (p *port) tryNext() bool {
	p.mu.Lock()
	opens, closes := p.opens, p.closes
	drained := p.drained && closes == p.reportedCloses+1 && !p.late
	p.mu.Unlock()

	if len(p.held) > 0 {
		p.result = result{data: p.held}
		p.held = nil
		return true
	}
	if p.reportedOpens == p.reportedCloses {
		p.release()
		if opens == p.reportedOpens {
			return false
		}
		p.reportedOpens++
		p.result = result{event: uart.Event{Kind: uart.KindOpened}}
		return true
	}
	if drained && (opens > p.reportedOpens || readable(p.term.Master())) {
		return p.reportClose() // the bytes that follow are the next program's
	}
	if n := p.readBytes(); n > 0 {
		return p.gotBytes(n)
	}
	// The hangup of a last close can wake Next before the watcher pokes it; a change just before the close comes first.
	if p.late || p.poked || closes > p.reportedCloses {
		if found, done := p.changeAlone(); done {
			return found
		}
	}
	p.dropStaleNotices()
	p.release()
	if closes > p.reportedCloses {
		return p.reportClose()
	}
	return false
}

// reportClose makes the next close the result.
func (p *port) reportClose() bool {
	p.release()
	p.mu.Lock()
	p.reportedCloses++
	p.mu.Unlock()
	p.result = result{event: uart.Event{Kind: uart.KindClosed}}
	return true
}

// dropStaleNotices is called when the master is empty. It removes the notice that a write added when it ended, although
// its bytes were read before: the notice would count for the next bytes. On a busy machine this reduced the number of
// wrong orders to a third.
func (p *port) dropStaleNotices() {
	if !p.stale {
		return
	}
	p.stale = false
	if n := p.takeNotices(); n.changed {
		p.keepOrder(n.first) // the change is still to be found
	}
}

// changeAlone makes a change that has no bytes before it the result. done: there is nothing else to do in this try.
func (p *port) changeAlone() (found, done bool) {
	late := p.late
	p.late, p.poked = false, false
	if _, changed := p.changed(); !changed {
		return false, false
	}
	// The notice of this change must not count as the next one's. A change after this take adds a notice of its own; one
	// before it is in the termios that is read now.
	n := p.takeNotices()
	if !late {
		if count := p.readBytes(); count > 0 { // readable since the last read
			p.keepOrder(n.earlier())
			return p.gotBytes(count), true
		}
	}
	p.release()
	now, _ := p.changed()
	p.reportSettings(now)
	return true, true
}

// keepOrder keeps which notice came first for the following takeNotices. It overrides what a probe has kept since,
// which is later.
func (p *port) keepOrder(first notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keptOrder = first
}

// readBytes reads into the buffer, more than once for bulk data, and returns the number of bytes; 0: there are none.
func (p *port) readBytes() (n int) {
	if p.buf == nil {
		p.buf = bufs.Get().(*[bufSize]byte)
	}
	for {
		m, _ := p.term.ReadMaster(p.buf[n:])
		n += m
		if m < readMore || len(p.buf)-n < readSize {
			return n
		}
	}
}

// release returns the buffer to the pool.
func (p *port) release() {
	if p.buf != nil {
		bufs.Put(p.buf)
		p.buf = nil
	}
}

// gotBytes decides whether the result is the n bytes that were read, or a change that came before them.
func (p *port) gotBytes(n int) bool {
	p.mu.Lock()
	before := p.takeNoticesLocked() // also removes the notice that our own read has added
	p.doubt = p.doubt || !p.open
	p.mu.Unlock()
	p.result = result{data: p.buf[:n]}
	p.lateLeft -= n
	p.stale = true
	now, changed := p.changed()
	switch {
	case !changed:
		p.late = false
	case p.late && p.lateLeft > 0:
	case !p.late && p.bytesFirst(before):
		p.late, p.lateLeft = true, maxLate
	default:
		p.late = false
		p.held = p.result.data
		p.reportSettings(now)
	}
	return true
}

// bytesFirst reports whether the bytes came before the change. The bytes were read before n was taken; the change was
// detected after that.
func (p *port) bytesFirst(n notices) bool {
	if n.changed {
		return n.first == noticeWrote
	}
	// The kernel adds the notice of a change before the change is visible: so either the change came after n was taken,
	// and its notice is in order now, or the notice was lost.
	return p.takeNotices().changed
}

// takeNotices takes the notices while it holds mu: epoll holds the slave open while it polls it, and a probe must find
// it closed.
func (p *port) takeNotices() notices {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.takeNoticesLocked()
}

// takeNoticesLocked is takeNotices for callers that hold the lock.
func (p *port) takeNoticesLocked() notices {
	n := p.order.take()
	if p.keptOrder != 0 {
		n.first, n.changed = p.keptOrder, true
		p.keptOrder = 0
	}
	return n
}

// changed reads the termios and reports whether it differs from what was reported last.
func (p *port) changed() (settings, bool) {
	var t unix.Termios
	if !p.term.Termios(&t) {
		return settings{}, false
	}
	p.warn(&t)
	now := settingsOf(&t).over(p.reported)
	return now, now != p.reported
}

// reportSettings makes now the result.
func (p *port) reportSettings(now settings) {
	p.mu.Lock()
	p.reported = now
	p.keptOrder = 0 // a probe may have set it since the take that found this change
	p.mu.Unlock()
	p.result = result{event: now.event()}
}

// Write implements uart.Port.
func (p *port) Write(b []byte) (n int, err error) {
	p.writer = writer{bytes: b}
	for {
		err = p.term.WaitWrite()
		n = p.written
		switch {
		case err == nil:
			p.bytes = nil
			if p.isClosed() && n < len(b) {
				return n, uart.ErrClosed
			}
			return n, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.term.UnpokeWriter() // check again whether the port is open
		case p.isClosed():
			return n, uart.ErrClosed
		default:
			return n, fmt.Errorf("port %s: write to the pty: %w", p.claim.Path(), err)
		}
	}
}

// tryWrite writes as much as fits. done: all is written, or no program has the port open. mu makes the check and the
// write atomic: after a last close the watcher empties the pty while it holds mu, so that the next application reads
// nothing stale.
func (p *port) tryWrite() (done bool) {
	w := &p.writer
	p.mu.Lock()
	defer p.mu.Unlock()
	stale := w.forOpen != 0 && (!p.open || w.forOpen != p.opens) // its program has closed the port: the rest is not for the next program
	if p.closed || stale || !p.open && !p.doubt {
		p.full = false
		return true
	}
	if !p.open {
		p.watcher.requestProbe(p)
		return false // until the watcher pokes
	}
	w.forOpen = p.opens
	for w.written < len(w.bytes) {
		m := p.term.WriteMaster(w.bytes[w.written:])
		if m == 0 {
			p.stalls++
			p.full = true
			return false
		}
		w.written += m
	}
	p.full = false
	return true
}

// noteClose makes the watcher ignore the port from now on.
func (p *port) noteClose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

// closeDevice closes everything that start has opened. Next and Write return; when it returns, nothing uses the device
// any more.
func (p *port) closeDevice() {
	p.noteClose()
	p.mu.Lock()
	p.slave.close()
	p.mu.Unlock()
	leave(p)
	if p.term != nil {
		p.term.Close() // waits until Next and Write have left it
	}
	_ = unix.Close(p.order.set)
}
