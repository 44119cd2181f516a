//go:build amd64 || arm64

package run

import (
	"sync/atomic"
	"time"
)

// serve answers the calls of a listener until no program is left or stop becomes readable. A call that has to wait for
// something does so in a goroutine of its own. For what may block unpredictably there is a watchdog: a program's memory
// may be backed by a file whose server is dead, or is another program that waits for its own call to be answered.
func (h *Host) serve(l *listener, stop int) error {
	defer h.endWaits(l)
	end := make(chan error, 1) // from the last receiver
	go h.receiveCalls(l, stop, end)
	return <-end
}

// receiver is one goroutine that receives calls, and performs them. Only one receives at a time.
type receiver struct {
	knownFDs map[fdKey]struct{} // descriptors that were a port's slave at the last check
	state    atomic.Int32
	watchdog *time.Timer
}

const (
	receiving = iota
	performing
	replaced
)

// receiverPatience is how long a call may take before another goroutine receives the next ones.
const receiverPatience = 20 * time.Millisecond

// receiveCalls receives calls and performs them. If a call takes too long, the watchdog replaces it: receiveCalls
// continues in the timer's goroutine, and this one ends with its call.
func (h *Host) receiveCalls(l *listener, stop int, end chan<- error) {
	r := &receiver{knownFDs: map[fdKey]struct{}{}}
	r.watchdog = time.AfterFunc(time.Hour, func() {
		if r.state.CompareAndSwap(performing, replaced) {
			h.receiveCalls(l, stop, end)
		}
	})
	defer r.watchdog.Stop()
	for r.state.Load() != replaced {
		n, err := l.receive(stop)
		if err != nil {
			end <- err
			return
		}
		c := &call{host: h, l: l, receiver: r, abi: abiOf(n.Data.Arch), n: n}
		r.state.Store(performing)
		r.watchdog.Reset(receiverPatience)
		gone, done := h.matchRestart(c)
		if !done {
			h.perform(c)
		}
		if gone != nil {
			close(gone)
		}
		r.watchdog.Stop()
		r.state.CompareAndSwap(performing, receiving)
	}
}

// perform performs a call or lets the kernel do it.
func (h *Host) perform(c *call) {
	switch e, known := c.entry(); {
	case !known:
		c.continueInKernel()
	case e.kind == kindIoctl:
		h.ioctl(c)
	default:
		h.pathCall(c, e)
	}
}
