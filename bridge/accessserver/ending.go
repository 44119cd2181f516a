package accessserver

import (
	"errors"
	"time"

	"telnetcpc/bridge/tcp"
)

const (
	// lastPatience is how long the last bytes of a client that is gone wait while none of them leaves.
	lastPatience = 30 * time.Second
	// othersPatience is how long they may still leave when another client wants the device, however long that client has
	// waited before. The new client gets the device within 15 s of its connection or of the end of the client before it;
	// attach waits 10 s at most for an opening.
	othersPatience = 8 * time.Second
	// clientDead is how long a client may fail to acknowledge what it was sent, or TCP's probes. Then it counts as gone. Its own
	// bytes have had that time to leave, so vanishedPatience takes the place of othersPatience.
	clientDead, vanishedPatience = 12 * time.Second, time.Second
	// A nudge to a client that has closed the connection in order is answered with a reset, which drops the bytes that are still
	// in the client's kernel. So it is sent only when another client has wanted the device for nudgeForOthers, or when nothing
	// has moved for lastPatience; then every nudgeEvery. What TCP has received here then has nudgedPatience to leave: 8 s,
	// 1 s until the reset is seen, and 4 s are less than 15 s.
	nudgeForOthers, nudgeEvery, nudgedPatience = othersPatience, 8 * time.Second, 4 * time.Second
	// checkClientEvery is how often TCP is asked whether the client is still there: reads do not show it while the device
	// blocks, and writes do not while the client blocks.
	checkClientEvery = time.Second
	// checkUnsentEvery is the longest time between two checks of the transmitter, because a purge can empty it early.
	checkUnsentEvery = 100 * time.Millisecond
)

// errWanted ends the session of a client that is gone and whose last bytes have kept the device from another client for too long.
var errWanted = errors.New("another client wants the device")

// lastBytes waits until the session is over: the client is gone and what it sent has left; or no byte has left for
// lastPatience; or another client has waited long enough; or s.ended is done.
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
	s.dropped.Add(int64(s.unsentBytes()))
	s.fail(errWanted)
}

// awaitEnd waits until the client is gone. It returns false if the session ends at once.
func (s *session) awaitEnd() bool {
	check := time.NewTicker(checkClientEvery)
	defer check.Stop()
	s.moved = time.Now()
	for {
		select {
		case <-s.gone:
			return true
		case <-s.ended.Done():
			return false
		case <-check.C:
			switch facts := s.tcp.Facts(); {
			case facts.Ended: // its FIN or reset is in the kernel, after bytes that cannot be read while the device is blocked
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

// giveUp closes the connection of a client that has vanished, so that neither direction waits for it any longer. A client
// that is alive but has closed its TCP window is not given up: its TCP answers.
func (s *session) giveUp(facts tcp.Facts) {
	s.vanished, s.unacked = facts, s.tcp.Unacked()
	s.gaveUp.Store(true)
	s.leave()
	_ = s.client.Close()
}

// nudge makes a client show whether it is still there while its bytes are unread in our kernel: its FIN may still be in
// its own kernel, after more bytes than fit here, and then nothing shows that it is gone. It is nudged only if nothing
// moves, or if another client wants the device.
func (s *session) nudge(unread int, now time.Time) {
	if up := s.up.Load(); up != s.lastUp || unread == 0 {
		s.lastUp, s.moved = up, now
	}
	others := s.owner.wantedFor(now) >= nudgeForOthers
	if unread > 0 && now.Sub(s.nudged) >= nudgeEvery && (others || now.Sub(s.moved) >= lastPatience) {
		s.nudged = now
		s.wasNudged.Store(true)
		_ = s.client.Nudge()
	}
}

// othersWait reports whether another client has waited long enough for the last bytes of a client that is gone.
func (s *session) othersWait() bool {
	patience := othersPatience
	switch {
	case !s.owner.left():
		return false
	case s.gaveUp.Load():
		patience = vanishedPatience
	case s.reset.Load() && s.wasNudged.Load():
		patience = nudgedPatience
	}
	return s.owner.wantedSinceLeft(time.Now()) >= patience
}

// unsentBytes estimates how many bytes that the device has taken have not left it.
func (s *session) unsentBytes() int {
	inForce, _ := s.watchers.state()
	one := inForce.Coding.LineTime(1)
	if one <= 0 {
		return 0
	}
	return int((s.device.Unsent() + one/2) / one)
}

// empties waits until the transmitter is empty and complete returns true: complete reports that nothing more will be
// written. It returns false if nothing has moved for patience, if another client has waited long enough, or if the
// session ends.
func (s *session) empties(patience time.Duration, complete func() bool) bool {
	type progress struct {
		up     uint64
		unsent time.Duration
	}
	var last progress
	since := time.Now()
	for {
		all := complete() // before Unsent: once it is true, nothing more is written
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
		pause := time.NewTimer(min(max(now.unsent, time.Millisecond), checkUnsentEvery))
		select {
		case <-pause.C:
		case <-s.ended.Done():
			pause.Stop()
			return false
		}
	}
}

func always() bool { return true }
