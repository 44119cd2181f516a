package bridge

import (
	"errors"
	"time"

	"telnetcpc/bridge/uart"
)

// The way of a byte to the device, all of it in one goroutine:
//
//	application's write -> kernel -> Port.Next -> up -> send -> Session.Write -> conn.Write
//
// A change of settings walks the same road (up -> settings -> Session.Apply), so the order on the wire is the order of
// this loop. Back pressure is a Session.Write that blocks, or a link that is awaited: then Next is not called, and the
// application's write waits in the kernel. Nothing is queued here but the bytes in hand.

// recodeWait bounds how long a change of line coding, or a line that falls, waits for the bytes before it on hosts that
// cannot drain.
const recodeWait = time.Second

// markEvery is how many bytes may pass before the next mark is asked for.
const markEvery = 64 << 10

// up is started by serve and ends when the port is closed or lost.
func (r *run) up() {
	for {
		r.place.Add(1)
		p, e, err := r.port.Next()
		r.place.Add(1)
		switch {
		case err != nil:
			r.portLost(err)
			return
		case e.Kind != uart.KindData:
			r.event(e)
		default:
			r.send(p)
		}
	}
}

// portLost tells Run that a call on the port failed, unless that is because Run closed it.
func (r *run) portLost(err error) {
	if errors.Is(err, uart.ErrClosed) {
		select {
		case <-r.done:
			return
		default:
		}
	}
	select {
	case r.failed <- err:
	default:
	}
}

// send gives p to the present session, or to the next one, until all of it is given, or it is to be dropped.
func (r *run) send(p []byte) {
	var last *session
	for len(p) > 0 {
		s := r.await(last)
		if s == nil {
			r.count.upDropped.Add(uint64(len(p)))
			return
		}
		r.writing.Store(uint64(len(p)))
		n, err := s.Write(p)
		r.unsent.gave(n)
		r.writing.Store(0)
		r.count.up.Add(uint64(n))
		r.tap.data(Up, p[:n])
		p = p[n:]
		if err != nil {
			s.fail(err)
			r.kickRun()
			last = s
			continue
		}
		if r.unsent.sinceMark() >= markEvery {
			s.mark()
		}
	}
}

// await returns a session that takes data, other than last, or nil where the bytes in hand are to be dropped.
func (r *run) await(last *session) *session {
	waited := false
	for {
		if r.dropping() {
			return nil
		}
		s := r.link.current()
		if s != nil && s != last && !s.suspended.Load() {
			if waited {
				r.holding.Store(false)
			}
			return s
		}
		if s == nil && r.link.discarding.Load() {
			r.holding.Store(false)
			return nil
		}
		if !waited {
			waited = true
			r.holding.Store(true)
			r.kickRun()
		}
		select {
		case <-r.link.wake:
		case <-r.done:
			r.holding.Store(false)
			return nil
		}
	}
}

// event does what an event of the application means.
func (r *run) event(e uart.Event) {
	r.tap.event(Up, e)
	switch e.Kind {
	case uart.KindOpened:
		r.portOpened(e)
	case uart.KindClosed:
		r.opened.Store(false)
		r.closesSeen.Add(1)
		r.board.set(func(s *Snapshot) { s.Opened = false })
		r.log.Info("port closed", "up", r.count.up.Load(), "down", r.count.down.Load())
		r.kickRun()
	case uart.KindSettings:
		r.settings(e)
	case uart.KindPurge:
		r.purge(e)
	}
}

func (r *run) portOpened(e uart.Event) {
	if e.Ready != nil {
		r.readyMu.Lock()
		r.ready = append(r.ready, e.Ready)
		r.readyMu.Unlock()
		if r.link.current() != nil {
			r.answerOpens(nil)
		}
	}
	r.visited.Store(true)
	r.opened.Store(true)
	r.board.set(func(s *Snapshot) { s.Opened = true })
	r.log.Info("port opened")
	r.kickRun()
}

// settings sends what the event changes. Where the host cannot make the application wait for its bytes, a change of
// line coding waits here for them: a smart meter's ACK at 300 baud must not go out at 9600. So does a fall of DTR or RTS:
// an application that has drained its port lets RTS fall behind the last byte, and would cut off an RS-485 frame.
func (r *run) settings(e uart.Event) {
	falls := e.Control.DTR == uart.LevelOff || e.Control.RTS == uart.LevelOff
	if !r.port.Fidelity().Carries(uart.CarriesDrain) && (falls || r.link.recodes(e)) {
		r.waitEmpty(recodeWait)
	}
	now, sent, died, err := r.link.change(e)
	r.board.set(func(s *Snapshot) { s.Wanted = now.event() })
	if died != nil {
		died.fail(err)
		r.kickRun()
		return
	}
	r.unsent.recode(now.Coding)
	if e.Control.Break != 0 && r.link.current() == nil {
		r.count.breaksDropped.Add(1)
	}
	switch {
	case e.Coding != (uart.Coding{}) || e.Flow != (uart.Flow{}):
		r.log.Info("settings", "coding", now.Coding.String(), "flow", now.Flow.String(), "sent", sent)
	default:
		r.log.Debug("control lines", "lines", e.Control.String(), "sent", sent)
	}
}

// waitEmpty waits until the far UART should be empty, the session is lost, the port is closed, or limit is over. Where
// it is known that limit does not suffice it does not begin: the bytes would go out wrongly all the same, and late.
func (r *run) waitEmpty(limit time.Duration) {
	if r.Unsent() > limit {
		return
	}
	over := time.NewTimer(limit)
	defer over.Stop()
	// At a high rate the line time is nothing beside the 40 ms after which TCP acknowledges: a look each 10 microseconds
	// would use the processor up. So the pauses grow.
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, markPoll) {
		left := r.Unsent()
		if left == 0 {
			return
		}
		again := time.NewTimer(max(left, pause))
		select {
		case <-again.C:
		case <-r.link.wake: // a mark was answered
			again.Stop()
		case <-over.C:
			again.Stop()
			return
		case <-r.done:
			again.Stop()
			return
		}
	}
}

// purge forwards a purge. Without a link there is nothing to purge: what was held has been dropped.
func (r *run) purge(e uart.Event) {
	if e.Purge&uart.PurgeTx != 0 {
		r.purgesSeen.Add(1)
	}
	r.log.Debug("purge", "buffers", e.Purge.String())
	s := r.link.current()
	if s == nil {
		return
	}
	if err := s.Apply(e); err != nil {
		s.fail(err)
		r.kickRun()
	}
}
