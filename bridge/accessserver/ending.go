package accessserver

import (
	"errors"
	"time"

	"telnetcpc/bridge/tcp"
)

const (
	// lastPatience is how long the bytes of a client that has gone wait without one of them leaving.
	lastPatience = 30 * time.Second
	// othersPatience is how long they may still leave when somebody else wants the device, however long he has wanted it
	// before: he has it within 15 s of his coming, or of the client's going, and our own client's opening takes 10 s at most.
	othersPatience = 8 * time.Second
	// clientDead is how long a client may leave without an acknowledgement what it was sent, or what TCP asks it. Then it
	// is gone, and what it sent has had that time to leave: vanishedPatience is othersPatience for it.
	clientDead, vanishedPatience = 12 * time.Second, time.Second
	// A nudge throws away what a client that has closed the connection in order still has in its own kernel. So it comes
	// when another client has wanted the device for nudgeForOthers, or when nothing has moved for as long as nobody's last
	// bytes may wait (lastPatience); nudgeEvery is how often. What TCP has taken of it here has nudgedPatience then: 8 s, 1 s
	// until the look that sees it, and 4 s are less than 15.
	nudgeForOthers, nudgeEvery, nudgedPatience = othersPatience, 8 * time.Second, 4 * time.Second
	// lookAtClient is how often to look whether the client is still there, which a blocked device hides from who reads, and
	// a blocked client from who writes.
	lookAtClient = time.Second
	// lookAgain bounds how long a wait for the transmitter goes without looking: a purge ends it early.
	lookAgain = 100 * time.Millisecond
)

// errWanted ends the session of a client that is gone when its last bytes have kept the device long enough.
var errWanted = errors.New("another client wants the device")

// lastBytes waits until the session is over: the client is gone and what it sent is out, or no byte has left for too
// long, or another client has waited long enough, or everything ends at once.
func (s *session) lastBytes() {
	if !s.awaitEnd() {
		return
	}
	if s.empties(lastPatience, s.allTaken.Load) || s.ended.Err() != nil {
		return
	}
	if !s.othersWait() {
		s.losses.Warn("bytes not sent: none has left the port for too long", "waited", lastPatience, "held", s.device.Unsent())
		return
	}
	s.dropped.Add(int64(s.heldBytes()))
	s.fail(errWanted)
}

// awaitEnd waits until the client is gone; false: the session has ended at once.
func (s *session) awaitEnd() bool {
	look := time.NewTicker(lookAtClient)
	defer look.Stop()
	s.moved = time.Now()
	for {
		select {
		case <-s.gone:
			return true
		case <-s.ended.Done():
			return false
		case <-look.C:
			switch facts := s.tcp.Facts(); {
			case facts.Ended: // its end lies in the kernel, after bytes that nobody can read while the device takes nothing
				if facts.Closed { // our FIN has not been sent: it is a reset
					s.reset.Store(true)
				}
				s.leave()
			case facts.Waiting >= clientDead:
				s.giveUp(facts)
			default:
				s.nudge(facts.Unread, time.Now())
			}
		}
	}
}

// giveUp ends the connection of a client that is gone without a word: neither way waits for it any more. A client that has
// closed its window and lives is not given up: its TCP answers.
func (s *session) giveUp(facts tcp.Facts) {
	s.vanished, s.unacked = facts, s.tcp.Unacked()
	s.gaveUp.Store(true)
	s.leave()
	_ = s.client.Close()
}

// nudge asks a client whether it is still there while bytes of it lie unread in the kernel: its FIN may wait in its own
// kernel, after more of them than TCP takes here, and then nothing shows that it is gone. It does so where nothing moves, or
// when somebody else wants the device.
func (s *session) nudge(unread int, now time.Time) {
	if up := s.up.Load(); up != s.seenUp || unread == 0 {
		s.seenUp, s.moved = up, now
	}
	others := s.owner.wanted(now) >= nudgeForOthers
	if unread > 0 && now.Sub(s.nudged) >= nudgeEvery && (others || now.Sub(s.moved) >= lastPatience) {
		s.nudged = now
		s.asked.Store(true)
		_ = s.client.Nudge()
	}
}

// othersWait reports whether somebody else has waited long enough for the last bytes of a client that is gone.
func (s *session) othersWait() bool {
	patience := othersPatience
	switch {
	case !s.owner.left():
		return false
	case s.gaveUp.Load():
		patience = vanishedPatience
	case s.reset.Load() && s.asked.Load():
		patience = nudgedPatience
	}
	return s.owner.outlasted(time.Now()) >= patience
}

// heldBytes is about how many bytes the device holds that have not left.
func (s *session) heldBytes() int {
	inForce, _ := s.watch.state()
	one := inForce.Coding.LineTime(1)
	if one <= 0 {
		return 0
	}
	return int((s.device.Unsent() + one/2) / one)
}

// empties waits until the transmitter is empty and nothing more is to come, and reports whether that is so. It gives up
// when nothing has moved for patience, when another client has waited long enough, and when the session ends.
func (s *session) empties(patience time.Duration, complete func() bool) bool {
	type progress struct {
		up     uint64
		unsent time.Duration
	}
	var last progress
	since := time.Now()
	for {
		all := complete() // asked before Unsent: once it is true, nothing more comes
		now := progress{s.up.Load(), s.device.Unsent()}
		if all && now.unsent == 0 {
			return true
		}
		if now != last {
			last, since = now, time.Now()
		} else if time.Since(since) >= patience {
			return false
		}
		if s.othersWait() {
			return false
		}
		pause := time.NewTimer(min(max(now.unsent, time.Millisecond), lookAgain))
		select {
		case <-pause.C:
		case <-s.ended.Done():
			pause.Stop()
			return false
		}
	}
}

func always() bool { return true }
