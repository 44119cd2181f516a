//go:build amd64 || arm64

package run

import (
	"errors"
	"fmt"
	"os"
	"time"

	"telnetcpc/bridge/uart"
)

// From the program to the bridge: the pty, the queue, Next.

const (
	// readSize is the most that one read of a pty's master returns (the tty core's buffer). If a read returns at least
	// readAgainFrom bytes, another read follows.
	readSize      = 4096
	readAgainFrom = readSize / 2
	// maxDrain bounds what one call reads from the pty: no more can have been in it before the call (22,048 bytes
	// measured).
	maxDrain = 32 << 10
	// maxQueue is the queue's length from which on a call no longer reads the pty before it queues its change. The
	// change then overtakes the bytes still in the pty; this bounds memory.
	maxQueue = 256 << 10
)

// Next implements uart.Port.
func (p *port) Next() ([]byte, uart.Event, error) {
	for {
		term := p.terminal()
		err := term.WaitRead()
		switch {
		case err == nil:
			return p.next.data, p.next.event, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			term.UnpokeReader() // the queue was filled before the poke
		case p.isEnded():
			return nil, uart.Event{}, uart.ErrClosed
		case term != p.terminal(): // hung up
		default:
			return nil, uart.Event{}, fmt.Errorf("port %s: read the pty: %w", p.claim.Path(), err)
		}
	}
}

// fetchNext puts the next thing that programs did into p.next, and reports whether there was one. It never blocks. What
// is queued comes before what is still in the pty.
func (p *port) fetchNext() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.up.lent > 0 {
		p.up.lent = 0
		p.wakeWaiters()
	}
	if p.ended {
		return false
	}
	p.up.blockedSince = time.Time{}
	for {
		if e, ok := p.up.queue.Event(); ok {
			p.wakeWaiters() // there is room for another event
			p.next.data, p.next.event = nil, e
			return true
		}
		n := p.up.queue.Take(p.next.buf[:])
		if n == 0 && p.opens.open {
			n = p.readBytes()
		}
		if n > 0 {
			p.up.lent = n
			p.next.data, p.next.event = p.next.buf[:n], uart.Event{}
			return true
		}
		if p.up.queue.Empty() { // not empty if readBytes noticed the last close
			return false
		}
	}
}

// readBytes reads the pty into the buffer that Next lends, more than once if a lot arrives; port.mu is held.
func (p *port) readBytes() (n int) {
	for {
		m, gone := p.term.ReadMaster(p.next.buf[n:])
		n += m
		p.line.counts.tx += int32(m)
		p.up.written += uint64(m)
		if m > 0 && !p.opens.hadSlave { // from a program whose open was not noticed yet, while an open waits
			p.noteUnseenOpen()
		}
		if gone && n == 0 {
			p.checkLastClose()
			return 0
		}
		if m < readAgainFrom || len(p.next.buf)-n < readSize {
			return n
		}
	}
}

// drainPTY moves what is in the pty into the queue, unless the queue is too long; port.mu is held.
func (p *port) drainPTY() {
	if p.up.queue.Len() > maxQueue {
		p.warnReordered("changes of settings overtake bytes: too many of them wait for the remote")
		return
	}
	p.drainWholePTY()
}

// drainWholePTY is drainPTY however long the queue is.
func (p *port) drainWholePTY() {
	var buf [readSize]byte
	taken := 0
	for taken < maxDrain {
		n, _ := p.term.ReadMaster(buf[:])
		if n == 0 {
			break
		}
		p.up.queue.Push(buf[:n])
		p.line.counts.tx += int32(n)
		p.up.written += uint64(n)
		taken += n
	}
	if taken > 0 {
		p.term.PokeReader()
	}
}

// addEvent queues an event after everything that programs have done; port.mu is held.
func (p *port) addEvent(e uart.Event) {
	p.drainPTY()
	p.queueEvent(e)
}

// queueEvent queues an event after what has been read from the pty; port.mu is held.
func (p *port) queueEvent(e uart.Event) {
	outcome := p.up.queue.Add(e)
	if outcome.Ready != nil && p.opens.opening != nil {
		// The queue merged this open with another: nobody will report a session for it, so it waits for none. Ready
		// itself cannot be called here, because it takes port.mu.
		p.opens.opening.done = true
	}
	if outcome.Moved {
		p.warnReordered("changes of settings are late, after bytes that were written later: too many of them wait for the remote")
	}
	p.term.PokeReader()
}

// warnReordered logs, once per open period, that changes and bytes were reordered; port.mu is held.
func (p *port) warnReordered(how string) {
	if !p.warned.reordered {
		p.warned.reordered = true
		p.log.Warn(how, "device", p.term.Name())
	}
}
