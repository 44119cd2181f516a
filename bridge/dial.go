package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"telnetcpc/bridge/uart"
)

// connect dials when it may, and gives up when nobody wants a session any more.
func (r *run) connect(again *alarm, now time.Time) {
	switch {
	case !r.wanted():
		r.stopDial()
		r.enter(phaseIdle, now)
	case r.hangUp != nil: // settle comes
	case now.Before(r.redial.next()):
		again.at(r.redial.next())
	default:
		r.redial.last = now
		r.link.dialBegins(now)
		again.at(now.Add(freshMost)) // heldClock looks then
		r.dial()
	}
}

func (r *run) stopDial() {
	if r.hangUp != nil {
		r.stopped = true
		r.hangUp()
		r.link.dialStopped()
	}
}

// stateMost bounds how long a new session may take for the state of the port.
const stateMost = 10 * time.Second

// dial starts a dial, which leads to a session that was told the whole state of the port. Its goroutine ends when the
// dial does; stopDial ends it, and settle or collect takes its result.
func (r *run) dial() {
	ctx, cancel := context.WithCancel(context.Background())
	r.hangUp, r.stopped = cancel, false
	mask := lineMask(r.port.Fidelity())
	go func() {
		s, err := r.cfg.Remote.Dial(ctx, mask)
		if err != nil {
			r.dialed <- r.failure(err)
			return
		}
		n, err := r.begin(ctx, s)
		if err != nil {
			r.dialed <- r.failure(err)
			return
		}
		r.dialed <- dialResult{session: n}
	}()
}

// failure is a dial's result when it has led to nothing: who comes later waits for the next.
func (r *run) failure(err error) dialResult {
	opens := r.link.opens() // first, as portOpened tells the link first: no open is taken for one that has had its dial
	return dialResult{err: err, opens: opens, visits: r.visits.Load()}
}

// lineMask is the line state that a port of this fidelity can show.
func lineMask(f uart.Fidelity) (mask uart.LineState) {
	if f.Carries(uart.CarriesLineErrors) {
		mask |= uart.LineErrors &^ uart.LineBreak
	}
	if f.Carries(uart.CarriesBreakIn) {
		mask |= uart.LineBreak
	}
	if f.Carries(uart.CarriesDrain) {
		mask |= uart.LineTEMT
	}
	return mask
}

var errTakesNothing = fmt.Errorf("the access server has agreed to a session and takes no settings for %v (does it hang?)", stateMost)

// begin tells a new session the state of the port. It closes a session that does not take that in time.
func (r *run) begin(ctx context.Context, s uart.Session) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, stateMost)
	defer cancel()
	n := newSession(s, &r.link.notice, r.port.Fidelity().Carries(uart.CarriesDrain))
	n.told = r.link.state()
	n.unsent.start(n.told.Coding)
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = s.Close()
	})
	err := s.Apply(n.told.event())
	if !stop() { // the connection's error, where there is one, is our own doing
		<-closed
		if err = ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
			err = errTakesNothing
		}
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return n, nil
}

// settle takes a dial's result.
func (r *run) settle(result dialResult, now time.Time) {
	r.hangUp()
	r.hangUp = nil
	if r.stopped { // whatever came of it: it may have been done before that
		if result.session != nil {
			_ = result.session.Close()
		}
		return
	}
	if result.err == nil {
		r.served = r.visits.Load()
		r.stand(result.session, now)
		return
	}
	r.served = result.visits
	err := result.err
	r.redial.failed(now)
	r.outage(r.link.dialFailed(result.opens))
	r.board.set(func(b *Snapshot) { b.Error = err.Error() })
	if text := err.Error(); text != r.redial.said {
		r.redial.said = text
		r.far.Warn("no session; trying again", "err", text)
	}
	r.answerOpens(err)
}

// stand begins the life of a session that becomes the link.
func (r *run) stand(s *session, now time.Time) {
	s.stands, s.lookAt = now, now.Add(peerLook)
	r.session = s
	if n := r.untold.Swap(0); n > 0 {
		r.losses.Warn("bytes that were written while there was no session are dropped", "dropped", n, "in_all", r.count.upDropped.Load())
	}
	r.board.set(func(b *Snapshot) {
		b.Wanted, b.Error = s.told.event(), ""
		b.Sessions++
	})
	r.news("session stands", "remote", r.cfg.Remote.String(), "settings", s.told.String())
	r.redial.said = ""
	if r.link.stand(s) { // before status shows the session as up: a purge from then on belongs to it
		r.ways.Go(r.resend) // ends when nothing is held any more, the session is lost, or the port is closed
	}
	r.enter(phaseUp, now) // before down has the session: what the server says comes after what was known
	select {
	case unread := <-r.next: // the application has read nothing for the whole life of a session: it will never be read
		if n := r.closeUnread(unread); n > 0 {
			r.losses.Warn("bytes of an earlier session were never read by the application and are dropped", "unread", n, "in_all", r.count.downDropped.Load())
		}
	default:
	}
	r.next <- s
	r.answerOpens(nil)
}

// redial says when the remote may be dialed next. It outlives ports: a hangup makes a new one.
type redial struct {
	delays *backoff.ExponentialBackOff
	at     time.Time // not before
	last   time.Time // when the last dial began
	said   string    // the error of the last dial that was logged
}

// dialGap is the least time between two dials, and the first of the delays that double.
const dialGap = 100 * time.Millisecond

func newRedial() redial {
	d := redial{delays: &backoff.ExponentialBackOff{
		InitialInterval: dialGap, Multiplier: 2, MaxInterval: 2 * time.Second, RandomizationFactor: 0.2,
	}}
	d.delays.Reset()
	return d
}

// next is when the remote may be dialed: ten times a second at most, whatever has happened.
func (d *redial) next() time.Time { return later(d.at, d.last.Add(dialGap)) }

// failed puts the next dial off, each time for longer.
func (d *redial) failed(now time.Time) { d.at = now.Add(d.delays.NextBackOff()) }

// well forgets what failed before.
func (d *redial) well() { d.delays.Reset() }
