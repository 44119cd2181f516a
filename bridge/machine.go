package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"

	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/uart"
)

const (
	// closePatience is how long the bytes of an application that is gone may stand still before they are dropped.
	closePatience = 30 * time.Second
	// closeLook is how often their progress is looked at.
	closeLook = 5 * time.Second
	// peerLook is how often Run looks at the socket while bytes are on their way, peerGlance while none are.
	peerLook, peerGlance = 2 * time.Second, 5 * time.Second
	// peerDead is how long data may be in flight without an acknowledgement: with the looks, noticed within 15 s.
	peerDead = 10 * time.Second
	// stoodWell is how long a session must have stood for the delays between dials to start small again.
	stoodWell = 5 * time.Second
	// retireQuiet and retireMost: at the end, how long up must have stood in Next for nothing to be left unread, and
	// how long that is waited for.
	retireQuiet, retireMost = 200 * time.Millisecond, 5 * time.Second
	// lastFlush bounds the wait for the last bytes when the bridge itself ends.
	lastFlush = 5 * time.Second
)

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
	sooner := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	if s := r.link.current(); s != nil && s.failed() {
		if err := r.lose(s, *s.cause.Load(), now); err != nil {
			return due, err
		}
	}
	sooner(r.closeClock(now))
	wanted := r.policy.Connect == ConnectAlways || r.opened.Load() || r.holding.Load()
	s := r.link.current()
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
	select {
	case unread := <-r.next:
		// The application has read nothing for the whole life of a session: it will never be read.
		unread.Close()
		r.log.Warn("bytes of an earlier session were never read by the application and are dropped")
	default:
	}
	r.next <- s
	r.modemMu.Lock()
	r.showModem(true)
	r.modemMu.Unlock()
	r.answerOpens(nil)
}

// lose takes a lost session out of the link and says what may be lost with it. down reads it to its end.
func (r *run) lose(s *session, cause error, now time.Time) error {
	st := &r.state
	// What is inside a write that has not returned counts as given: the number must not be too small.
	since := r.unsent.sinceMark() + r.writing.Load()
	loss := Loss{Time: now, Cause: cause.Error(), Unacked: s.Unacked(), SinceMark: since, AtMost: since + r.unsent.held()}
	if errors.Is(cause, io.EOF) {
		loss.Cause = "closed by the access server"
	}
	r.link.clear()
	r.count.losses.Add(1)
	r.board.set(func(b *Snapshot) { b.LastLoss, b.Error = loss, loss.Cause })
	r.board.link(LinkConnecting)
	r.logLoss(loss, errors.Is(cause, io.EOF))
	r.modemMu.Lock()
	r.showModem(false)
	r.modemMu.Unlock()
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

// closeClock watches the bytes of an application that has closed the port: as long as they leave nobody hurries; after
// closePatience without progress what lies before the close is dropped.
func (r *run) closeClock(now time.Time) time.Time {
	st := &r.state
	called := r.closesCalled.Load()
	if called <= max(r.closesSeen.Load(), r.abandon.Load()) {
		return time.Time{}
	}
	far := gone{given: r.count.up.Load()}
	s := r.link.current()
	if s != nil {
		far.unacked = s.Unacked()
	}
	if called != st.closeCalled || far != st.closeGone {
		st.closeCalled, st.closeGone, st.closeSince = called, far, now
	}
	if until := st.closeSince.Add(closePatience); now.Before(until) {
		return minTime(until, now.Add(closeLook))
	}
	r.log.Warn("the last bytes of a closed port did not leave; they are dropped and counted", "waited", closePatience)
	r.abandon.Store(called)
	if s != nil {
		s.fail(errStuck)
		s.Close() // up may stand in its Write
	}
	r.link.wakeUp()
	return now
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// peer looks at the socket: a peer that acknowledges nothing is dead, and one that has ended the connection while down
// cannot read is gone for up. Without bytes on their way TCP's keepalive does this.
func (r *run) peer(s *session, now time.Time) (time.Time, error) {
	st := &r.state
	if now.Before(st.lookAt) {
		return st.lookAt, nil
	}
	given := r.count.up.Load()
	p := s.Alive()
	every := peerGlance
	if p.Waiting > 0 || given != st.looked {
		every = peerLook
	}
	st.looked, st.lookAt = given, now.Add(every)
	switch {
	case p.Waiting >= peerDead:
		err := fmt.Errorf("%w: no acknowledgement for %v", errPeerDead, p.Waiting.Round(time.Second))
		s.fail(err)
		s.Close()
		return now, r.lose(s, err, now)
	case p.Ended && st.ended:
		// Seen twice: down had the time to read it, and stands in Port.Write.
		s.fail(io.EOF)
		return now, r.lose(s, io.EOF, now)
	}
	st.ended = p.Ended
	if r.unsent.sinceMark() > 0 {
		s.mark()
	}
	return st.lookAt, nil
}

// markClock stops believing in marks that stay unanswered for markPatience: drain then rests on computation.
func (r *run) markClock(s *session, now time.Time) time.Time {
	st := &r.state
	since := r.unsent.sinceMark()
	if since == 0 || !s.marks.Load() {
		st.markSince = time.Time{}
		return time.Time{}
	}
	if st.markSince.IsZero() || since < st.markBytes {
		st.markSince = now
	}
	st.markBytes = since
	if until := st.markSince.Add(markPatience); now.Before(until) {
		return until
	}
	s.marks.Store(false)
	return time.Time{}
}

// lingerAndClose ends a session that nobody wants: linger first, then the mark, then the time that the far UART still
// needs, then FIN. Somebody who comes meanwhile gets the session as it is.
func (r *run) lingerAndClose(s *session, wanted bool, now time.Time) time.Time {
	st := &r.state
	if wanted {
		if !st.closing.IsZero() {
			r.board.link(LinkUp)
		}
		st.idle, st.closing = time.Time{}, time.Time{}
		return time.Time{}
	}
	if st.idle.IsZero() {
		st.idle = now
		if r.unsent.sinceMark() > 0 {
			s.mark()
		}
	}
	if until := st.idle.Add(r.policy.Linger); now.Before(until) {
		return until
	}
	if st.closing.IsZero() {
		st.closing = now
		r.board.link(LinkClosing)
	}
	if left := r.Unsent(); left > 0 && (s.Unacked() <= 0 || now.Before(st.closing.Add(closePatience))) {
		return now.Add(left)
	}
	s.Close()
	r.link.clear()
	st.idle, st.closing, st.stands = time.Time{}, time.Time{}, time.Time{}
	st.backoff.Reset()
	st.dialAt = time.Time{}
	r.board.link(LinkIdle)
	r.modemMu.Lock()
	r.showModem(false)
	r.modemMu.Unlock()
	r.log.Info("session closed", "remote", r.cfg.Remote.String())
	return now
}

// finish ends the port. In order: nobody new may open it; up is given the time to carry what was written; the port is
// closed, so that up and a blocked down return; the far UART is given a short time; the session is closed.
func (r *run) finish(orderly bool) {
	if orderly {
		if err := r.port.Retire(); err != nil {
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
