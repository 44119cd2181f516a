package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"telnetcpc/bridge/uart"
)

// connect starts a dial when one is due, and cancels it when no session is wanted any more.
func (r *run) connect(next *alarm, now time.Time) {
	switch {
	case !r.wanted():
		r.stopDial()
		r.enter(phaseIdle, now)
	case r.cancelDial != nil: // takeDial follows
	case now.Before(r.redial.due()):
		next.at(r.redial.due())
	default:
		r.redial.last = now
		r.link.dialBegins(now)
		next.at(now.Add(freshMost)) // for heldTimer
		r.dial()
	}
}

func (r *run) stopDial() {
	if r.cancelDial != nil {
		r.dialUnwanted = true
		r.cancelDial()
		r.link.dialCanceled()
	}
}

// stateMost limits how long a new session may take to accept the state of the port.
const stateMost = 10 * time.Second

// dial starts a dial. Its result is a session that has received the whole state of the port, or an error. Its goroutine
// ends with the dial, which stopDial cancels; takeDial or collect takes the result.
func (r *run) dial() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancelDial, r.dialUnwanted = cancel, false
	mask := lineMask(r.port.Fidelity())
	go func() {
		s, err := r.cfg.Remote.Dial(ctx, mask)
		if err != nil {
			r.dialed <- r.failedDial(err)
			return
		}
		n, err := r.begin(ctx, s)
		if err != nil {
			r.dialed <- r.failedDial(err)
			return
		}
		r.dialed <- dialResult{session: n}
	}()
}

// failedDial is the result of a dial that has failed. Programs that open the port later wait for the next dial.
func (r *run) failedDial(err error) dialResult {
	// Read before visits: the bytes of an open that comes in between wait for the next dial.
	opens := r.link.opens()
	return dialResult{err: err, opens: opens, visits: r.fromUp.visits.Load()}
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

var errTakesNothing = fmt.Errorf("the access server accepted the session but no settings within %v (is it hung?)", stateMost)

// begin sends the state of the port to a new session. It closes a session that does not take it in time.
func (r *run) begin(ctx context.Context, s uart.Session) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, stateMost)
	defer cancel()
	n := newSession(s, &r.link.notifier, r.port.Fidelity().Carries(uart.CarriesDrain))
	n.sent = r.link.state()
	n.unsent.start(n.sent.Coding)
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = s.Close()
	})
	err := s.Apply(n.sent.event())
	if !stop() { // an error of the connection comes from our own Close
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

// takeDial takes the result of a dial.
func (r *run) takeDial(result dialResult, now time.Time) {
	r.cancelDial()
	r.cancelDial = nil
	if r.dialUnwanted { // it may have succeeded before it was canceled
		if result.session != nil {
			_ = result.session.Close()
		}
		return
	}
	if result.err == nil {
		r.servedVisits = r.fromUp.visits.Load()
		r.sessionUp(result.session, now)
		return
	}
	r.servedVisits = result.visits
	err := result.err
	r.redial.failed(now)
	r.countLost(r.link.dialFailed(result.opens))
	r.status.update(func(b *Snapshot) { b.Error = err.Error() })
	if text := err.Error(); text != r.redial.logged {
		r.redial.logged = text
		r.peerLog.Warn("no session; trying again", "err", text)
	}
	r.releaseOpens(err)
}

// sessionUp makes a session the current one.
func (r *run) sessionUp(s *session, now time.Time) {
	s.upSince, s.nextCheck = now, now.Add(peerEvery)
	r.session = s
	if n := r.fromUp.unlogged.Swap(0); n > 0 {
		r.lossesLog.Warn("bytes written while there was no session were dropped", "dropped", n, "in_all", r.count.upDropped.Load())
	}
	r.status.update(func(b *Snapshot) {
		b.Wanted, b.Error = s.sent.event(), ""
		b.Sessions++
	})
	r.logSession("session up", "remote", r.cfg.Remote.String(), "settings", s.sent.String())
	r.redial.logged = ""
	if r.link.attach(s) { // before status shows the session as up: a purge from then on belongs to it
		r.carriers.Go(r.resend) // ends when nothing is held any more, the session is lost, or the port is closed
	}
	r.enter(phaseUp, now) // before down gets the session: what the server reports overrides what was known
	select {
	case unread := <-r.nextSession: // the application read nothing during the whole life of a session: it never will
		if n := r.closeUnread(unread); n > 0 {
			r.lossesLog.Warn("bytes of an earlier session were dropped; the application never read them", "unread", n, "in_all", r.count.downDropped.Load())
		}
	default:
	}
	r.nextSession <- s
	r.releaseOpens(nil)
}

// redial decides when the remote may be dialed. It outlives the port: after a hangup a new port is created. Only Run's
// goroutine.
type redial struct {
	delays    *backoff.ExponentialBackOff
	notBefore time.Time
	last      time.Time // when the last dial began
	logged    string    // the error of the last dial that was logged
}

// dialGap is the shortest time between two dials, and the first retry delay; each later delay is twice the one before.
const dialGap = 100 * time.Millisecond

func newRedial() redial {
	d := redial{delays: &backoff.ExponentialBackOff{
		InitialInterval: dialGap, Multiplier: 2, MaxInterval: 2 * time.Second, RandomizationFactor: 0.2,
	}}
	d.delays.Reset()
	return d
}

// due is when the remote may be dialed: never sooner than dialGap after the last dial.
func (d *redial) due() time.Time { return later(d.notBefore, d.last.Add(dialGap)) }

// failed delays the next dial, each time for longer.
func (d *redial) failed(now time.Time) { d.notBefore = now.Add(d.delays.NextBackOff()) }

// succeeded makes the delays start small again.
func (d *redial) succeeded() { d.delays.Reset() }
