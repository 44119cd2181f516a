//go:build amd64 || arm64

package run

import (
	"time"

	"golang.org/x/sys/unix"
)

// timedBreak is a break that tcsendbreak has begun. It lasts its whole time whatever becomes of the call: a signal to
// the program does not shorten it, and a restarted call waits for its end instead of sending a second one.
type timedBreak struct {
	tid       uint32
	signature [8]uint64 // of the call that began it
	over      bool
	end       time.Time
	reported  bool // its call has returned
}

// breakRestartWindow is how long after the end of a break its call may be restarted. It is generous: one break too many
// does more harm than one too few, which a program gets that reads EINTR just at the end and sends another.
const breakRestartWindow = time.Second

// isRestart reports whether c is the call that began the break, restarted; port.mu is held.
func (b *timedBreak) isRestart(c *call) bool {
	return b != nil && b.tid == c.n.TID && b.signature == c.signature() && !b.reported && time.Since(b.end) < breakRestartWindow
}

// sendTimedBreak sends a break of length d once the far UART is empty.
func (p *port) sendTimedBreak(c *call, d time.Duration) {
	if p.line.lastBreak.isRestart(c) {
		p.awaitBreak(c, p.line.lastBreak)
		return
	}
	p.awaitDrained(c, func() {
		b := &timedBreak{tid: c.n.TID, signature: c.signature(), end: time.Now().Add(d)}
		p.line.lastBreak = b
		p.setBreak(true)
		time.AfterFunc(d, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			b.over = true
			if p.line.lastBreak == b && !p.ended {
				p.setBreak(false)
			}
			p.wakeWaiters()
		})
		p.awaitBreak(c, b)
	})
}

// awaitBreak answers a call at the end of a break; port.mu is held.
func (p *port) awaitBreak(c *call, b *timedBreak) {
	p.await(c, func() bool {
		if b.over && c.respond(response{}) { // under port.mu, because the program may send its next break at once
			b.reported = true
		}
		return b.over || p.ended
	}, func(errno unix.Errno) {
		if errno == 0 {
			errno = unix.EIO // the port was closed
		}
		c.fail(errno) // has no effect if the call was answered above
	})
}
