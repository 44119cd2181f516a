//go:build amd64 || arm64

package run

import (
	"time"

	"golang.org/x/sys/unix"
)

// timedBreak is a break that tcsendbreak has begun. It has its whole length whatever becomes of the call: a signal to the
// program does not cut it, and where the call is made again it goes on and no second one is made.
type timedBreak struct {
	tid  uint32
	data [8]uint64 // of its call; see signature
	over bool
	end  time.Time
	told bool // the program knows that it is over
}

// breakAgain is how long after a break the call that has made it may come again: a break too many does more harm than one too
// few, of a program that has read EINTR at its very end.
const breakAgain = time.Second

// of reports whether a call is the one that has made the break, made again; the port's lock is held.
func (b *timedBreak) of(c *call) bool {
	return b != nil && b.tid == c.n.TID && b.data == c.signature() && !b.told && time.Since(b.end) < breakAgain
}

// breakFor sends a break of that length, when the far UART is empty.
func (p *port) breakFor(c *call, d time.Duration) {
	if p.timed.of(c) {
		p.awaitBreak(c, p.timed)
		return
	}
	p.drained(c, func() {
		b := &timedBreak{tid: c.n.TID, data: c.signature(), end: time.Now().Add(d)}
		p.timed = b
		p.sendBreak(true)
		time.AfterFunc(d, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			b.over = true
			if p.timed == b && !p.ended {
				p.sendBreak(false)
			}
			p.wakeUp()
		})
		p.awaitBreak(c, b)
	})
}

// awaitBreak answers a call when a break is over; the lock is held.
func (p *port) awaitBreak(c *call, b *timedBreak) {
	p.later(c, func() bool {
		if b.over && c.send(response{}) { // under the lock: the program may send its next break at once
			b.told = true
		}
		return b.over || p.ended
	}, func(errno unix.Errno) {
		if errno == 0 {
			errno = unix.EIO // the port has ended
		}
		c.fail(errno) // nobody hears it where the break is over
	})
}
