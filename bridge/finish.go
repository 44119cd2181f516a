package bridge

import (
	"errors"
	"time"

	"telnetcpc/bridge/uart"
)

// The end of a port, in the order in which its parts must end.

const (
	// retireQuiet and retireMost: how long up must have stood in Next for nothing to be left unread, and how long that
	// is waited for.
	retireQuiet, retireMost = 200 * time.Millisecond, 5 * time.Second
	// lastFlush bounds the wait for the last bytes.
	lastFlush = 5 * time.Second
)

// finish ends the port. In order: nobody new may open it; up is given the time to carry what was written; the port is
// closed, so that up and a blocked down return; the far UART is given a short time; the session is closed.
func (r *run) finish(orderly bool) {
	if orderly {
		if err := r.port.Retire(); err != nil && !errors.Is(err, uart.ErrNotCarried) {
			r.log.Warn("the port's path could not be removed", "path", r.cfg.Path, "err", err)
		}
		r.awaitQuiet()
	}
	close(r.done)
	if err := r.port.Close(); err != nil {
		r.log.Warn("closing the port", "err", err)
	}
	s := r.link.current()
	if s != nil && orderly {
		r.flush(s)
	}
	if s != nil {
		s.Close()
		r.link.clear()
	}
	if s := r.reading.Load(); s != nil {
		s.Close() // an earlier one, that an application which did not read has held up
	}
	r.answerOpens(uart.ErrClosed)
	if r.state.hangUp != nil {
		r.state.hangUp()
	}
}

// awaitQuiet waits until up has stood in Next for retireQuiet: then everything that was written has been carried.
func (r *run) awaitQuiet() {
	if r.link.current() == nil {
		return // what up holds has nowhere to go
	}
	tick := time.NewTicker(retireQuiet)
	defer tick.Stop()
	before := r.place.Load()
	for waited := time.Duration(0); waited < retireMost; waited += retireQuiet {
		<-tick.C
		now := r.place.Load()
		if now == before && now%2 == 1 {
			return
		}
		before = now
	}
	r.log.Warn("bytes that the application wrote were still on their way at the end", "waited", retireMost)
}

// flush waits, lastFlush at most, until the far UART should be empty.
func (r *run) flush(s *session) {
	end := time.Now().Add(lastFlush)
	for !s.failed() && time.Now().Before(end) {
		left := r.Unsent()
		if left == 0 {
			return
		}
		time.Sleep(min(left, time.Until(end)))
	}
}

// collect takes what is left when up and down have ended: a dial's result, a session that down did not get to.
func (r *run) collect() {
	if r.state.dialing {
		if result := <-r.dialed; result.err == nil {
			result.session.Close()
		}
	}
	select {
	case s := <-r.next:
		s.Close()
	default:
	}
}
