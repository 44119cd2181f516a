package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// The phases of a bridge. Only Run changes the phase, through enter; every session ends through end, whatever the cause.
//
//	        wanted              session up              unwanted, linger is over
//	idle ----------> connecting ----------------> up ---------------------------> closing
//	 ^ ^   not wanted  |  ^ ^                     | ^                             | | |
//	 | +---------------+  | +------- lost --------+ +----------- wanted ----------+ | |
//	 |                    |                       |                               | |
//	 |                    |                       | lost and unwanted             | | stuck or
//	 +--------------------|-----------------------+-------------------------------|-+ lost
//	 |                    | wanted again                                          |
//	 +--------------------+------------------- FIN sent <-------------------------+ all is sent
//
// Sleep leads from every phase to asleep, and Wake from there to idle. A hangup and the shutdown close the port in any phase
// (shutdown.go); after a hangup there is no port until it is created again (Bridge.reopen).
type phase uint8

const (
	phaseIdle       phase = iota // no session is wanted
	phaseConnecting              // a dial is in progress, or due later
	phaseUp                      // a session is up
	phaseClosing                 // it is not wanted any more; the last bytes are on their way out
	phaseFINSent                 // our FIN is sent after them; waiting for the peer's
	phaseAsleep                  // the machine sleeps
)

// linkStates are the phases as status shows them.
var linkStates = [...]LinkState{
	phaseIdle: LinkIdle, phaseConnecting: LinkConnecting, phaseUp: LinkUp, phaseClosing: LinkClosing, phaseFINSent: LinkClosing,
	phaseAsleep: LinkIdle,
}

// isUp reports whether a session is up, as the application sees it.
func (p phase) isUp() bool { return p == phaseUp || p == phaseClosing }

// enter changes the phase: status, modem lines, and the watches that start with it.
func (r *run) enter(p phase, now time.Time) {
	before := r.phase
	r.phase = p
	if p == phaseFINSent { // first: up writes nothing to this session any more, and waits until the link detaches it
		r.session.endedBefore.CompareAndSwap(0, r.announced.closes.Load()+1)
		r.countBreaksDropped(r.link.detachUnwanted(r.session.opensAtCheck, now))
	}
	r.status.setLink(linkStates[p])
	if before.isUp() != p.isUp() || before == phaseAsleep || p == phaseAsleep {
		r.showLink(p.isUp())
		r.status.update(func(s *Snapshot) { s.SuspendedSince = time.Time{} })
	}
	switch p {
	case phaseUp:
		r.session.unwantedSince, r.session.closing = time.Time{}, watch{}
	case phaseClosing:
		r.session.closing = watch{}
	case phaseFINSent:
		r.session.closing, r.session.finSent, r.session.finSentAt = watch{}, true, now
		_ = r.session.CloseWrite() // down gets an error too
	case phaseAsleep:
		r.redial.succeeded()
		r.redial.notBefore = time.Time{}
	case phaseIdle:
		r.status.update(func(s *Snapshot) { s.Error = "" })
	case phaseConnecting:
	}
}

// Why a session or a port ended.
var (
	errHangup   = errors.New("hung up")
	errAsleep   = errors.New("the machine is going to sleep")
	errExit     = errors.New("telnetcpc is exiting")
	errPeerDead = errors.New("peer does not answer")
	errStuck    = fmt.Errorf("no byte left for %v after the last close", stuckAfter)
	errPortLost = errors.New("the port is lost")
	errNoFIN    = errors.New("the access server did not close the connection")
)

// upWell is how long a session must have been up before the delays between dials start small again.
const upWell = 5 * time.Second

// end detaches the current session from the link, estimates and logs what was lost, and enters the next phase. Unless
// atOnce, down reads the session to its end and closes it.
func (r *run) end(cause error, atOnce bool, next phase, now time.Time) {
	s := r.session
	s.fail(cause)
	s.endedBefore.CompareAndSwap(0, r.announced.closes.Load()+1)
	r.countBreaksDropped(r.link.detach(now))
	loss := s.loss(now)
	if atOnce {
		loss.Unread = r.closeUnread(s)
	} else {
		_ = s.CloseWrite() // ends a Write that blocks; what the device sent is read on
	}
	r.session = nil
	if now.Sub(s.upSince) >= upWell {
		r.redial.succeeded()
	}
	if !s.drained {
		r.redial.failed(now)
	}
	r.enter(next, now)
	r.logEnd(s, loss)
	r.countLost(r.link.dropOld())
}

// closeUnread closes a session, and counts and returns the bytes of the device that have arrived and were not read. A
// second call returns 0.
func (r *run) closeUnread(s *session) int {
	if s.closedUnread.Swap(true) { // TLS reports them for some time after Close
		return 0
	}
	n := s.Alive().Unread
	_ = s.Close()
	r.count.downDropped.Add(uint64(n))
	return n
}

// loss returns what may have been lost with a failed session.
func (s *session) loss(now time.Time) Loss {
	failure := s.failure.Load()
	inside := s.writing.Load() // before the counts of unsent: bytes that move in between are counted twice rather than not at all
	l := Loss{Time: now, Cause: failure.cause.Error(), Unacked: failure.unacked, SinceMark: s.unsent.sinceMark()}
	if errors.Is(failure.cause, io.EOF) {
		l.Cause = "closed by the access server"
	}
	// Neither our FIN nor TCP's acknowledgement proves that the peer has read everything; the peer's FIN or an answered mark
	// does.
	s.unconfirmed = s.drained && l.SinceMark > 0 && !errors.Is(failure.cause, io.EOF)
	if !s.drained || s.unconfirmed {
		l.AtMost = s.unsent.atRisk(s.lastSign(failure.cause, now)) + inside
	}
	return l
}

// lastSign returns the earliest time at which the peer may have stopped: before its silence was noticed, or when our FIN
// was sent, after which some peers drop what their line has not carried.
func (s *session) lastSign(cause error, now time.Time) time.Time {
	var timeout interface{ Timeout() bool }
	switch {
	case s.finSent:
		return s.finSentAt
	case errors.Is(cause, errPeerDead):
		return now.Add(-s.silentFor)
	case errors.As(cause, &timeout) && timeout.Timeout(): // TCP's own error: keepalive
		return now.Add(-silentMost)
	}
	return now
}

// logEnd logs and publishes the end of a session. Many access servers end one that is idle, some every 10 seconds: if
// nothing was in flight, that is logged once and then counted.
func (r *run) logEnd(s *session, l Loss) {
	args := []any{"remote", r.cfg.Remote.String(), "unacked", l.Unacked, "since_mark", l.SinceMark, "lost_at_most", l.AtMost}
	if l.Unread > 0 {
		args = append(args, "unread", l.Unread)
	}
	cause := s.failure.Load().cause
	ours := s.finSent || errors.Is(cause, errAsleep) || errors.Is(cause, errExit) || errors.Is(cause, errPortLost)
	log := r.peerLog
	switch r.endedByPeer = !ours; {
	case ours:
		log = r.log
	case l.AtMost > 0 || l.Unread > 0:
		log = r.lossesLog
	}
	if !ours || l.AtMost > 0 {
		r.status.update(func(b *Snapshot) { // in one step: readers see a new loss together with its bytes
			b.LastLoss = l
			b.LostAtMost += l.AtMost
			if !ours {
				b.Losses++
			}
			if l.AtMost > 0 && b.LostAtMost > l.AtMost { // the lines of earlier losses may have been left out
				args = append(args, "in_all", b.LostAtMost)
			}
		})
	}
	switch {
	case s.unconfirmed && l.Unread == 0: // one warning is enough: such a server ends every session like this
		level := slog.LevelInfo
		if !r.unknownLogged {
			level, r.unknownLogged = slog.LevelWarn, true
		}
		r.idleEnds = 0
		log.Log(context.Background(), level, "session closed; unknown whether the access server read everything", append(args, "because", l.Cause)...)
	case ours && l.AtMost > 0:
		log.Warn("session closed before everything was sent", append(args, "because", l.Cause)...)
	case s.drained && l.Unread == 0:
		r.idleEnds = 0
		log.Info("session closed", args...)
	case ours && l.Unread == 0:
		log.Info("session closed", append(args, "because", l.Cause)...)
	case ours:
		log.Warn("session closed with device bytes that the application had not read", args...)
	case errors.Is(cause, io.EOF) && l.AtMost == 0:
		r.logSession("session ended by the access server, nothing in flight", args...)
		r.idleEnds++
	default:
		r.idleEnds = 0
		log.Warn("session lost", append(args, "err", l.Cause)...)
	}
	if !ours && r.phase == phaseConnecting {
		r.status.update(func(b *Snapshot) { b.Error = l.Cause })
	}
}

// logSession logs that a session has come or gone: at Info the first end of an idle session and the session after it; later
// ones at Debug, unless the server could not be reached meanwhile.
func (r *run) logSession(message string, args ...any) {
	switch {
	case r.idleEnds > 1 && r.redial.logged == "":
		r.log.Debug(message, args...)
	case r.endedByPeer:
		r.peerLog.Info(message, args...)
	default:
		r.log.Info(message, args...)
	}
}
