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

// In which order Next tells what it finds. How it waits is in package terminal; what the master does not announce (an open,
// a change of termios without data) the watcher tells by poke: it ends the wait, and Next looks at everything anew.
//
// Order: the kernel makes bytes readable by a worker, so they may come later than the notice of a change that was made
// after them; a read of the master waits for that worker, so a read that finds nothing is the truth. So each look reads
// first, then asks the latch what came first and the termios what is new. A change that came before the bytes is told
// before them, which are held for the following Next; one that came behind them is late: it is told when the master has
// nothing more to read.

const (
	// readSize is what a pty's master gives in one read at most.
	readSize = 4096
	// readMore is how much the first read must give for further ones to follow before anything is handed out: bulk pays
	// for each write to the session, single bytes pay for each read.
	readMore = readSize / 2
	// bufSize is the most that Next returns: more brings nothing.
	bufSize = 3 * readSize
	// lateMost bounds a late change: no more bytes than this can have been in the pty before it (22,048 measured).
	lateMost = 32 << 10
)

// bufs are the buffers that Next lends. A port has one only while it has bytes: most ports are idle most of the time.
var bufs = sync.Pool{New: func() any { return new([bufSize]byte) }}

// device is the Linux half of a port.
type device struct {
	term  *terminal.Terminal
	latch latch

	// Only Next's.
	buf       *[bufSize]byte // lent, or nil
	held      []byte         // of buf: bytes that were read and not told, for a change came before them
	late      bool           // a change of termios waits for the bytes before it
	marks     bool           // the latch may have a mark of bytes that were told
	poked     bool           // a change of termios may have come without bytes
	lateLeft  int            // for so many more bytes at most
	toldOpens uint64
	found     found // what the last look found

	given given // only Write's

	mu     sync.Mutex // over all below: the watcher's view, read by Next and Write; held over system calls that do not wait
	slave  own
	kept   notice // which came first, the bytes or a change not told yet, where the latch has been emptied since
	open   bool   // somebody has the port open
	opens  uint64
	closes uint64
	// The master was empty when the last close was found: what came later is the next program's.
	drained bool
	// How many closes Next has told; it alone writes it. Until it has told all, bytes are the last program's.
	toldCloses uint64
	told       settings // what Next returned last; Next alone writes it
	stalls     uint64   // how often Write has found no room
	full       bool     // and it waits for some
	ended      bool
	// Bytes were read while nobody had the port open: the last program's, or those of one whose open is not noticed yet.
	// Then Write asks the watcher to look who has it before it says that nobody does.
	doubt bool

	watched // only the watcher's, but for what is an atomic
}

// found is what one look found.
type found struct {
	data  []byte
	event uart.Event
}

// given is one Write under way.
type given struct {
	p     []byte
	n     int
	opens uint64 // which open it has begun to write for; 0: none yet
}

// Next implements uart.Port.
func (p *port) Next() ([]byte, uart.Event, error) {
	for {
		err := p.term.WaitRead()
		switch {
		case err == nil:
			return p.found.data, p.found.event, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Poked. Whoever pokes writes down why before he does it, so the next look finds it.
			p.term.UnpokeReader()
			p.poked = true
		case p.isEnded():
			return nil, uart.Event{}, uart.ErrClosed
		default:
			return nil, uart.Event{}, fmt.Errorf("port %s: read the pty: %w", p.claim.Path(), err)
		}
	}
}

func (p *port) isEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// poke makes Next look anew.
func (p *port) poke() { p.term.PokeReader() }

// look puts the next thing that the application did into p.found and reports whether there was one. It never waits.
func (p *port) look() bool {
	p.mu.Lock()
	opens, closes := p.opens, p.closes
	drained := p.drained && closes == p.toldCloses+1 && !p.late
	p.mu.Unlock()

	if len(p.held) > 0 {
		p.found = found{data: p.held}
		p.held = nil
		return true
	}
	if p.toldOpens == p.toldCloses {
		p.release()
		if opens == p.toldOpens {
			return false
		}
		p.toldOpens++
		p.found = found{event: uart.Event{Kind: uart.KindOpened}}
		return true
	}
	if drained && (opens > p.toldOpens || readable(p.term.Master())) {
		return p.tellClose() // the bytes that come are the next program's
	}
	if n := p.readBytes(); n > 0 {
		return p.gotBytes(n)
	}
	// The hangup of a last close can wake Next before the watcher pokes it; a change just before the close is told first.
	if p.late || p.poked || closes > p.toldCloses {
		if found, done := p.changeAlone(); done {
			return found
		}
	}
	p.forgetMarks()
	p.release()
	if closes > p.toldCloses {
		return p.tellClose()
	}
	return false
}

// tellClose tells the next close.
func (p *port) tellClose() bool {
	p.release()
	p.mu.Lock()
	p.toldCloses++
	p.mu.Unlock()
	p.found = found{event: uart.Event{Kind: uart.KindClosed}}
	return true
}

// forgetMarks takes from the latch, when the master has been read empty, what a write has marked at its end though its
// bytes were read before: it would count for the next ones. On a busy machine that leaves a third of the wrong orders.
func (p *port) forgetMarks() {
	if !p.marks {
		return
	}
	p.marks = false
	if m := p.lookAtLatch(); m.changed {
		p.keep(m.first) // the change is to be found yet
	}
}

// changeAlone looks for a change without bytes before it, and reports whether that was all there is to do.
func (p *port) changeAlone() (found, done bool) {
	late := p.late
	p.late, p.poked = false, false
	if _, changed := p.changed(); !changed {
		return false, false
	}
	// The mark of this change must not count as the next one's. A change behind this look leaves a mark of its own, one
	// before it is in the termios that is read now.
	m := p.lookAtLatch()
	if !late {
		if n := p.readBytes(); n > 0 { // they have come since the last read
			p.keep(m.order())
			return p.gotBytes(n), true
		}
	}
	p.release()
	now, _ := p.changed()
	p.tell(now)
	return true, true
}

// keep leaves to the following look at the latch what came first. What a probe has kept meanwhile it found later.
func (p *port) keep(first notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = first
}

// readBytes reads into the buffer, more than once where much comes, and returns how much; 0: there is nothing.
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

// release gives the buffer back.
func (p *port) release() {
	if p.buf != nil {
		bufs.Put(p.buf)
		p.buf = nil
	}
}

// gotBytes decides whether the n bytes that were read are told now, or a change before them.
func (p *port) gotBytes(n int) bool {
	p.mu.Lock()
	m := p.takeMarks() // which also forgets the mark that our own read has left there
	p.doubt = p.doubt || !p.open
	p.mu.Unlock()
	p.found = found{data: p.buf[:n]}
	p.lateLeft -= n
	p.marks = true
	now, changed := p.changed()
	switch {
	case !changed:
		p.late = false
	case p.late && p.lateLeft > 0:
	case !p.late && p.bytesFirst(m):
		p.late, p.lateLeft = true, lateMost
	default:
		p.late = false
		p.held = p.found.data
		p.tell(now)
	}
	return true
}

// bytesFirst reports whether the bytes that were read before the look that found m came before the change that was seen
// after it.
func (p *port) bytesFirst(m marks) bool {
	if m.changed {
		return m.first == noticeWrote
	}
	// The kernel marks a change before it can be seen: either it came after that look, and its mark is there now.
	return p.lookAtLatch().changed
}

// lookAtLatch looks under the lock: epoll holds the slave open while it asks it, and a probe must see it closed.
func (p *port) lookAtLatch() marks {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.takeMarks()
}

// takeMarks is lookAtLatch; the lock is held.
func (p *port) takeMarks() marks {
	m := p.latch.look()
	if p.kept != 0 {
		m.first, m.changed = p.kept, true
		p.kept = 0
	}
	return m
}

// changed reads the termios and reports whether it says something else than what was told last.
func (p *port) changed() (settings, bool) {
	var t unix.Termios
	if !p.term.Termios(&t) {
		return settings{}, false
	}
	p.warn(&t)
	now := settingsOf(&t).over(p.told)
	return now, now != p.told
}

// tell makes now what was told last.
func (p *port) tell(now settings) {
	p.mu.Lock()
	p.told = now
	p.kept = 0 // a probe may have kept it since the look that has found this change
	p.mu.Unlock()
	p.found = found{event: now.event()}
}

// Write implements uart.Port.
func (p *port) Write(b []byte) (n int, err error) {
	p.given = given{p: b}
	for {
		err = p.term.WaitWrite()
		n = p.given.n
		switch {
		case err == nil:
			p.given.p = nil
			if p.isEnded() && n < len(b) {
				return n, uart.ErrClosed
			}
			return n, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.term.UnpokeWriter() // look again who has it open
		case p.isEnded():
			return n, uart.ErrClosed
		default:
			return n, fmt.Errorf("port %s: write to the pty: %w", p.claim.Path(), err)
		}
	}
}

// give writes as much as fits, and is done where all is written or nobody has the port open. The lock makes the two one
// step: after a last close the watcher empties the pty under it, so that the next application reads nothing stale.
func (p *port) give() (done bool) {
	g := &p.given
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := g.opens != 0 && (!p.open || g.opens != p.opens) // of a Write for one who has closed: not the next one's
	if p.ended || rest || !p.open && !p.doubt {
		p.full = false
		return true
	}
	if !p.open {
		p.watcher.ask(p)
		return false // until the watcher pokes
	}
	g.opens = p.opens
	for g.n < len(g.p) {
		m := p.term.WriteMaster(g.p[g.n:])
		if m == 0 {
			p.stalls++
			p.full = true
			return false
		}
		g.n += m
	}
	p.full = false
	return true
}

// noteEnd has the watcher leave the port alone from here on.
func (p *port) noteEnd() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// end closes the device: Next and Write return, and nothing of it is used any more. It also ends what start has begun.
func (p *port) end() {
	p.noteEnd()
	p.mu.Lock()
	p.slave.close()
	p.mu.Unlock()
	leave(p)
	if p.term != nil {
		p.term.Close() // and waits until Next and Write have left it
	}
	_ = unix.Close(p.latch.set)
}
