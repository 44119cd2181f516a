package accessserver

import (
	"context"
	"time"

	"telnetcpc/bridge/telnet"
)

const (
	// handover is how long a newcomer waits for the client before it to be gone: one that closes and opens again must
	// not be refused because of its own last session, whose FIN may not have been read yet.
	handover = time.Second
	// settles is likewise how long one waits that has agreed: others may have done so at the same time. Our own client
	// knows a refusal within a second of the agreement.
	settles = 500 * time.Millisecond
	// waitMost bounds the wait for a client that is gone and whose bytes still leave.
	waitMost = 20 * time.Second
	// nodEvery is how often somebody who waits is told that this is a Telnet: our own client gives a server 3 s to say
	// something.
	nodEvery = time.Second
	// takeAgain is how often a newcomer looks at the owner.
	takeAgain = 50 * time.Millisecond
)

// take waits for the device, and reports whether it is the visitor's now, until release. It waits for patience; while it
// finds out whether the owner lives; and as long as the owner, who is gone, still has bytes on the way to the device: their time is
// up soon when somebody else wants it.
func (s *Server) take(ctx context.Context, v *visitor, patience time.Duration) bool {
	asking, enough := context.WithCancel(ctx)
	defer enough()
	began := time.Now()
	until, nodded := began.Add(patience), time.Time{}
	answer, asked := s.inquire(asking, v), true
	again := time.NewTicker(takeAgain)
	defer again.Stop()
	for {
		select {
		case s.owned <- struct{}{}:
			return true
		case soon := <-answer:
			asked = false
			if soon {
				until = time.Now().Add(handover)
			}
			continue
		case <-again.C:
		case <-ctx.Done():
			return false
		}
		now, owner, ended := time.Now(), s.holder(), v.tcp.Facts().Ended
		speaks := v.welcome || v.wants()
		wants := speaks && !ended // who has gone away again wants nothing
		if wants {
			owner.want(now)
		}
		leaving := wants && owner.left() && now.Sub(began) < waitMost
		if leaving {
			s.lobby.keep(v)
			if !v.agreed && now.Sub(nodded) >= nodEvery {
				nodded = now
				if _, err := v.conn.Write([]byte{byte(telnet.IAC), byte(telnet.NOP)}); err != nil { // a few bytes never wait
					return false // it has gone: not every system tells that before
				}
			}
		}
		if !leaving && !asked && !now.Before(until) || !speaks && ended {
			return false
		}
	}
}

// inquire starts to find out whether the owner is dead; it ends with ctx. The answer is whether its place will soon be free.
func (s *Server) inquire(ctx context.Context, v *visitor) <-chan bool {
	answer, owner := make(chan bool, 1), s.holder()
	go func() { answer <- owner.inquire(ctx, v.conn) }()
	return answer
}

// takeNow is take for somebody who does not wait.
func (s *Server) takeNow() bool {
	select {
	case s.owned <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *Server) release() { <-s.owned }

// becomesOwner notes who has the device, for those who want it.
func (s *Server) becomesOwner(v *visitor) *owner {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner = &owner{conn: v.conn, tcp: v.tcp, hangUp: v.hangUp}
	return s.owner
}

// holder is who owns the device, or did last; nil: nobody has yet.
func (s *Server) holder() *owner {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner
}
