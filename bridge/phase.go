package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"
)

// A bridge's life. Run alone moves it, through enter; a session ends through end, whoever ended it.
//
//	        wanted              a session stands         unwanted, linger is over
//	idle ----------> connecting ----------------> up ---------------------------> closing
//	 ^ ^ nobody wants  |  ^ ^                     | ^                             | | |
//	 | +--- one -------+  | +------- lost --------+ +----------- wanted ----------+ | |
//	 |                    |                       |                               | |
//	 |                    |                       | lost, and unwanted            | | nothing leaves,
//	 +--------------------|-----------------------+-------------------------------|-+ or lost
//	 |                    | wanted again                                          |
//	 +--------------------+--------------------- left <---------------------------+ all is out
//
// From everywhere Sleep leads to asleep, and Wake from there to idle. A hangup and the end of the program close the port
// in any phase (finish.go); after a hangup there is no port until it is made again (Bridge.reopen).
type phase uint8

const (
	phaseIdle       phase = iota // nobody wants a session
	phaseConnecting              // a dial is under way, or waited for
	phaseUp                      // a session stands
	phaseClosing                 // nobody wants it any more; the last bytes are on their way out
	phaseLeft                    // FIN is sent after them, and the peer's is awaited
	phaseAsleep                  // the machine sleeps
)

// states are the phases as status shows them.
var states = [...]LinkState{
	phaseIdle: LinkIdle, phaseConnecting: LinkConnecting, phaseUp: LinkUp, phaseClosing: LinkClosing, phaseLeft: LinkClosing,
	phaseAsleep: LinkIdle,
}

// stands reports whether a session stands, as the application sees it.
func (p phase) stands() bool { return p == phaseUp || p == phaseClosing }

// enter moves the bridge into a phase: status, modem lines, and the clocks that begin with it.
func (r *run) enter(p phase, now time.Time) {
	before := r.phase
	r.phase = p
	if p == phaseLeft { // before all else: up gives it nothing any more, and looks again until it is out of the link
		r.session.over.CompareAndSwap(0, r.closesCalled.Load()+1)
		r.breaksDropped(r.link.leave(r.session.opens, now))
	}
	r.board.link(states[p])
	if before.stands() != p.stands() || before == phaseAsleep || p == phaseAsleep {
		r.showLink(p.stands())
		r.board.set(func(s *Snapshot) { s.SuspendedSince = time.Time{} })
	}
	switch p {
	case phaseUp:
		r.session.unwanted, r.session.leaves = time.Time{}, watch{}
	case phaseClosing:
		r.session.leaves = watch{}
	case phaseLeft:
		r.session.leaves, r.session.finSent, r.session.leftAt = watch{}, true, now
		_ = r.session.CloseWrite() // an error shows to down, too
	case phaseAsleep:
		r.redial.well()
		r.redial.at = time.Time{}
	case phaseIdle:
		r.board.set(func(s *Snapshot) { s.Error = "" })
	case phaseConnecting:
	}
}

var (
	errHangup   = errors.New("hung up")
	errAsleep   = errors.New("the machine goes to sleep")
	errEnd      = errors.New("telnetcpc ends")
	errPeerDead = errors.New("peer does not answer")
	errStuck    = errors.New("no byte left for 30s after the last close")
	errPortLost = errors.New("the port is lost")
	errNoFIN    = errors.New("the access server does not end the connection")
)

// stoodWell is how long a session must have stood for the delays between dials to start small again.
const stoodWell = 5 * time.Second

// end takes the session that stands out of the link, counts what that cost, says so, and enters the next phase. Where it
// is not over at once, down reads it to its end and closes it.
func (r *run) end(cause error, atOnce bool, next phase, now time.Time) {
	s := r.session
	s.fail(cause)
	s.over.CompareAndSwap(0, r.closesCalled.Load()+1)
	r.breaksDropped(r.link.clear(now))
	loss := s.loss(now)
	if atOnce {
		loss.Unread = r.closeUnread(s)
	} else {
		_ = s.CloseWrite() // up may be blocked in its Write, and what the device sent is read on
	}
	r.session = nil
	if now.Sub(s.stands) >= stoodWell {
		r.redial.well()
	}
	if !s.drained {
		r.redial.failed(now)
	}
	r.enter(next, now)
	r.sayEnd(s, loss)
	r.outage(r.link.age())
}

// closeUnread closes a session, and returns how many bytes of the device had come and were not read.
func (r *run) closeUnread(s *session) int {
	if s.counted.Swap(true) { // TLS knows of them for some time after Close
		return 0
	}
	n := s.Alive().Unread
	_ = s.Close()
	r.count.downDropped.Add(uint64(n))
	return n
}

// loss reckons what the end of a failed session may have cost.
func (s *session) loss(now time.Time) Loss {
	lost := s.lost.Load()
	inside := s.writing.Load() // before what was given: what moves on between counts twice and not never
	l := Loss{Time: now, Cause: lost.cause.Error(), Unacked: lost.unacked, SinceMark: s.unsent.sinceMark()}
	if errors.Is(lost.cause, io.EOF) {
		l.Cause = "closed by the access server"
	}
	// Neither our FIN nor TCP's acknowledgement says that the peer has read all: its own FIN and an answered mark do.
	s.unsure = s.drained && l.SinceMark > 0 && !errors.Is(lost.cause, io.EOF)
	if !s.drained || s.unsure {
		l.AtMost = s.unsent.atRisk(s.lastSign(lost.cause, now)) + inside
	}
	return l
}

// lastSign is when the peer may have stopped: before it was noticed that it says nothing, or when our FIN was sent, at
// which some drop what their line has not carried.
func (s *session) lastSign(cause error, now time.Time) time.Time {
	var late interface{ Timeout() bool }
	switch {
	case s.finSent:
		return s.leftAt
	case errors.Is(cause, errPeerDead):
		return now.Add(-s.silent)
	case errors.As(cause, &late) && late.Timeout(): // TCP's own word, keepalive's
		return now.Add(-silentMost)
	}
	return now
}

// sayEnd tells of a session's end. Many access servers end one that is idle, some each 10 seconds: where nothing was
// under way that is said once and then counted.
func (r *run) sayEnd(s *session, l Loss) {
	args := []any{"remote", r.cfg.Remote.String(), "unacked", l.Unacked, "since_mark", l.SinceMark, "lost_at_most", l.AtMost}
	if l.Unread > 0 {
		args = append(args, "unread", l.Unread)
	}
	cause := s.lost.Load().cause
	ours := s.finSent || errors.Is(cause, errAsleep) || errors.Is(cause, errEnd) || errors.Is(cause, errPortLost)
	log := r.far
	switch r.theirs = !ours; {
	case ours:
		log = r.log
	case l.AtMost > 0 || l.Unread > 0:
		log = r.losses
	}
	if !ours || l.AtMost > 0 {
		r.board.set(func(b *Snapshot) { // at once: whoever sees that there is one more sees what it cost
			b.LastLoss = l
			b.LostAtMost += l.AtMost
			if !ours {
				b.Losses++
			}
			if l.AtMost > 0 && b.LostAtMost > l.AtMost { // the lines of others may have been left out
				args = append(args, "in_all", b.LostAtMost)
			}
		})
	}
	switch {
	case s.unsure && l.Unread == 0: // such servers end each session so: once that is a warning
		level := slog.LevelInfo
		if !r.unsureSaid {
			level, r.unsureSaid = slog.LevelWarn, true
		}
		r.ends = 0
		log.Log(context.Background(), level, "session closed; whether the access server has read all is not known", append(args, "because", l.Cause)...)
	case ours && l.AtMost > 0:
		log.Warn("session closed before all was out", append(args, "because", l.Cause)...)
	case s.drained && l.Unread == 0:
		r.ends = 0
		log.Info("session closed", args...)
	case ours && l.Unread == 0:
		log.Info("session closed", append(args, "because", l.Cause)...)
	case ours:
		log.Warn("session closed with bytes of the device that the application had not read", args...)
	case errors.Is(cause, io.EOF) && l.AtMost == 0:
		r.news("session ended by the access server, with nothing under way", args...)
		r.ends++
	default:
		r.ends = 0
		log.Warn("session lost", append(args, "err", l.Cause)...)
	}
	if !ours && r.phase == phaseConnecting {
		r.board.set(func(b *Snapshot) { b.Error = l.Cause })
	}
}

// news logs the coming and going of sessions: the first end of an idle session and what follows it are news, later ones
// are not, unless the server could not be reached meanwhile.
func (r *run) news(message string, args ...any) {
	switch {
	case r.ends > 1 && r.redial.said == "":
		r.log.Debug(message, args...)
	case r.theirs:
		r.far.Info(message, args...)
	default:
		r.log.Info(message, args...)
	}
}
