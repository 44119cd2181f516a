package bridge

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"

	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/uart"
)

// stoodWell is how long a session must have stood for the delays between dials to start small again.
const stoodWell = 5 * time.Second

var (
	errHangup   = errors.New("hung up")
	errPeerDead = errors.New("peer does not answer")
	errStuck    = errors.New("no byte left for 30s after the last close")
)

// machine is the state that Run alone may change.
type machine struct {
	dialing bool
	hangUp  context.CancelFunc // ends the dial under way
	backoff *backoff.ExponentialBackOff
	dialAt  time.Time // not before
	lastErr string    // the last dial error that was logged
	ends    int       // how often in a row the access server has ended a session with nothing under way

	stands    time.Time // since when the session stands
	idle      time.Time // since when nobody wants the session; zero: somebody does
	closing   time.Time // since when the last bytes are awaited; zero: not yet
	lookAt    time.Time // the next look at the peer
	looked    uint64    // bytes given by the last look
	ended     bool      // at the last look the peer had ended the connection and nobody had read that
	holdUntil time.Time // hold becomes discard; zero: never

	closeCalled uint64    // the last close that the clock below runs for
	closeGone   gone      // how far the bytes had come by closeSince
	closeSince  time.Time // the last progress since that close
	markSince   time.Time // since when a mark is awaited; zero: none is
	markBytes   uint64    // bytes since the last answered mark by then
}

// gone is how far the application's bytes have come: any change is progress, also inside one long write.
type gone struct {
	given   uint64
	unacked int
}

type dialResult struct {
	session remote.Session
	err     error
}

// loop is Run's: it waits for something to change, and decides. It returns nil when the context ends, errHangup, or
// why the port is lost.
func (r *run) loop(ctx context.Context) error {
	st := &r.state
	st.backoff = &backoff.ExponentialBackOff{
		InitialInterval: 100 * time.Millisecond, Multiplier: 2, MaxInterval: 2 * time.Second, RandomizationFactor: 0.2,
	}
	st.backoff.Reset()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, err := r.step(ctx, time.Now())
		if err != nil {
			return err
		}
		if due.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(due))
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-r.failed:
			return err
		case <-r.kick:
		case result := <-r.dialed:
			r.settle(result, time.Now())
		case <-timer.C:
		}
	}
}

// step does what is due and returns when to look again; zero: when kicked.
func (r *run) step(ctx context.Context, now time.Time) (due time.Time, err error) {
	st := &r.state
	if r.asleep.Load() {
		r.rest()
		return due, nil
	}
	sooner := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	if s := r.link.current(); s != nil && s.failed() {
		if err := r.lose(s, now); err != nil {
			return due, err
		}
	}
	sooner(r.closeClock(now))
	s := r.link.current()
	wanted := r.policy.Connect == ConnectAlways || r.opened.Load() || r.holding.Load()
	if r.visited.Load() && !wanted {
		wanted = true
		if s != nil { // it stands: linger counts from here
			r.visited.Store(false)
			sooner(now)
		}
	}
	switch {
	case s != nil:
		t, err := r.peer(s, now)
		if err != nil {
			return due, err
		}
		sooner(t)
		sooner(r.markClock(s, now))
		if r.link.current() != nil {
			sooner(r.lingerAndClose(s, wanted, now))
		} else {
			sooner(now)
		}
	case wanted && !st.dialing:
		if now.Before(st.dialAt) {
			sooner(st.dialAt)
		} else {
			r.dial(ctx)
		}
	case !wanted && !st.dialing:
		st.holdUntil = time.Time{}
		r.link.discarding.Store(false)
		r.board.link(LinkIdle)
	}
	if s == nil && !st.holdUntil.IsZero() {
		if now.Before(st.holdUntil) {
			sooner(st.holdUntil)
		} else {
			st.holdUntil = time.Time{}
			r.log.Warn("no session for the time to hold; bytes are discarded and counted", "hold_for", r.policy.HoldFor)
			r.discard()
		}
	}
	return due, nil
}

// dial starts a dial. Its goroutine ends when the dial does; finish cancels it, and collects a result that nobody took.
func (r *run) dial(ctx context.Context) {
	st := &r.state
	ctx, st.hangUp = context.WithCancel(ctx)
	st.dialing = true
	r.board.link(LinkConnecting)
	var mask uart.LineState
	if f := r.port.Fidelity(); f.Carries(uart.CarriesLineErrors) {
		mask |= uart.LineErrors &^ uart.LineBreak
	}
	if r.port.Fidelity().Carries(uart.CarriesBreakIn) {
		mask |= uart.LineBreak
	}
	if r.port.Fidelity().Carries(uart.CarriesDrain) {
		mask |= uart.LineTEMT
	}
	go func() {
		s, err := r.cfg.Remote.Dial(ctx, mask)
		r.dialed <- dialResult{s, err}
	}()
}

// settle takes a dial's result: a session is told the whole state and becomes the link.
func (r *run) settle(result dialResult, now time.Time) {
	st := &r.state
	st.dialing = false
	st.hangUp()
	err := result.err
	if r.asleep.Load() || errors.Is(err, context.Canceled) { // rest has ended it
		if err == nil {
			result.session.Close()
		}
		return
	}
	r.visited.Store(false)
	if err == nil {
		s := &session{Session: result.session}
		s.marks.Store(true)
		err = r.link.set(s, func(told settings) {
			r.unsent.start(told.Coding)
			r.board.set(func(b *Snapshot) { b.Wanted, b.Error = told.event(), "" })
			r.news("session stands", "remote", r.cfg.Remote.String(), "settings", told.String())
		})
		if err == nil {
			r.stand(s, now)
			return
		}
		s.Close()
	}
	st.dialAt = now.Add(st.backoff.NextBackOff())
	r.board.set(func(b *Snapshot) { b.Error = err.Error() })
	if text := err.Error(); text != st.lastErr {
		st.lastErr = text
		r.log.Warn("no session; trying again", "err", text)
	}
	if r.policy.OnLoss == OnLossDiscard {
		r.discard()
	}
	if r.policy.HoldFor > 0 && st.holdUntil.IsZero() && !r.link.discarding.Load() {
		st.holdUntil = now.Add(r.policy.HoldFor)
	}
	r.answerOpens(err)
}

// stand begins the life of a session that has become the link.
func (r *run) stand(s *session, now time.Time) {
	st := &r.state
	st.stands, st.lookAt, st.ended, st.lastErr = now, now.Add(peerLook), false, ""
	st.idle, st.closing, st.holdUntil, st.markSince = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	r.count.sessions.Add(1)
	r.board.link(LinkUp)
	r.modemMu.Lock() // before down has the session: what the server says comes after what was known
	r.showModem(true)
	r.modemMu.Unlock()
	select {
	case unread := <-r.next:
		// The application has read nothing for the whole life of a session: it will never be read.
		unread.Close()
		r.log.Warn("bytes of an earlier session were never read by the application and are dropped")
	default:
	}
	r.next <- s
	r.answerOpens(nil)
}

// lose takes a session that has failed out of the link and says what may be lost with it. down reads it to its end.
func (r *run) lose(s *session, now time.Time) error {
	st := &r.state
	cause, loss := s.lost.Load().cause, r.loss(s, now)
	if errors.Is(cause, io.EOF) {
		loss.Cause = "closed by the access server"
	}
	r.link.clear()
	r.count.losses.Add(1)
	r.board.set(func(b *Snapshot) { b.LastLoss, b.Error = loss, loss.Cause })
	r.board.link(LinkConnecting)
	r.logLoss(loss, errors.Is(cause, io.EOF))
	r.linesFall()
	if now.Sub(st.stands) >= stoodWell {
		st.backoff.Reset()
	}
	st.dialAt = now.Add(st.backoff.NextBackOff())
	st.stands, st.idle, st.closing = time.Time{}, time.Time{}, time.Time{}
	switch {
	case r.policy.OnLoss == OnLossHangup:
		s.Close()
		return errHangup
	case r.policy.OnLoss == OnLossDiscard:
		r.discard()
	case r.policy.HoldFor > 0:
		st.holdUntil = now.Add(r.policy.HoldFor)
	}
	return nil
}

// loss reckons what the end of a failed session may have cost.
func (r *run) loss(s *session, now time.Time) Loss {
	lost := s.lost.Load()
	// What is inside a write that has not returned counts as given: the number must not be too small.
	since := r.unsent.sinceMark() + r.writing.Load()
	return Loss{Time: now, Cause: lost.cause.Error(), Unacked: lost.unacked, SinceMark: since, AtMost: since + r.unsent.held()}
}

// linesFall shows the application that the session is gone.
func (r *run) linesFall() {
	r.modemMu.Lock()
	defer r.modemMu.Unlock()
	r.showModem(false)
}

// logLoss says that a session is lost. Many access servers end one that is idle, some each 10 seconds: where nothing was
// under way that is said once and then counted.
func (r *run) logLoss(loss Loss, ended bool) {
	st := &r.state
	if !ended || loss.AtMost > 0 {
		st.ends = 0
		r.log.Warn("session lost", "remote", r.cfg.Remote.String(), "err", loss.Cause,
			"unacked", loss.Unacked, "since_mark", loss.SinceMark, "lost_at_most", loss.AtMost)
		return
	}
	r.news("session ended by the access server, with nothing under way", "remote", r.cfg.Remote.String(),
		"unacked", loss.Unacked, "since_mark", loss.SinceMark, "lost_at_most", loss.AtMost)
	st.ends++
}

// news logs the coming and going of sessions: the first end of an idle session and what follows it are news, later ones
// are not, unless the server could not be reached meanwhile.
func (r *run) news(message string, args ...any) {
	if r.state.ends > 1 && r.state.lastErr == "" {
		r.log.Debug(message, args...)
		return
	}
	r.log.Info(message, args...)
}

// discard makes up drop what it holds, and what comes, until a session stands.
func (r *run) discard() {
	r.link.discarding.Store(true)
	r.link.wakeUp()
}
