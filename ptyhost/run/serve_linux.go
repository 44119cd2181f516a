//go:build amd64 || arm64

package run

import (
	"sync/atomic"
	"time"
)

// serve answers the calls of a listener, until no program is left or stop becomes readable. Nothing here waits: what a call
// waits for is waited for in a goroutine of its own. What cannot be known to wait is relieved: memory of a program may be
// that of a file, whose server is dead, or is another program which waits for its own call to be answered.
func (h *Host) serve(l *listener, stop int) error {
	defer h.leave(l)
	end := make(chan error, 1) // the last shift's
	go h.work(l, stop, end)
	return <-end
}

// shift is one goroutine's time of receiving calls. Only one receives at a time.
type shift struct {
	spots  map[spot]struct{} // descriptors that had a port's slave
	state  atomic.Int32
	relief *time.Timer
}

const (
	receiving = iota
	performing
	relieved
)

// patience is how long a call may take before another goroutine receives the next ones.
const patience = 20 * time.Millisecond

// work receives calls and performs them. Where it is relieved it ends with its call; who relieves it is a goroutine that its
// timer starts.
func (h *Host) work(l *listener, stop int, end chan<- error) {
	s := &shift{spots: map[spot]struct{}{}}
	s.relief = time.AfterFunc(time.Hour, func() {
		if s.state.CompareAndSwap(performing, relieved) {
			h.work(l, stop, end)
		}
	})
	defer s.relief.Stop()
	for s.state.Load() != relieved {
		n, err := l.receive(stop)
		if err != nil {
			end <- err
			return
		}
		c := &call{host: h, l: l, shift: s, abi: abiOf(n.Data.Arch), n: n}
		s.state.Store(performing)
		s.relief.Reset(patience)
		gone, done := h.begin(c)
		if !done {
			h.perform(c)
		}
		if gone != nil {
			close(gone)
		}
		s.relief.Stop()
		s.state.CompareAndSwap(performing, receiving)
	}
}

// perform performs a call, or lets the kernel do it.
func (h *Host) perform(c *call) {
	switch e, known := c.entry(); {
	case !known:
		c.proceed()
	case e.kind == kindIoctl:
		h.ioctl(c)
	default:
		h.path(c, e)
	}
}
