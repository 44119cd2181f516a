package accessserver

import (
	"context"
	"time"

	"telnetcpc/bridge/telnet"
)

const (
	// handover is how long a new client waits for the owner to leave: a client that closes and opens again must not be refused
	// because of its own last session, whose FIN may not have been read yet.
	handover = time.Second
	// agreedWait is how long a client waits after the negotiation, because another client may have acquired the device
	// meanwhile. attach recognizes a refusal within a second of the negotiation.
	agreedWait = 500 * time.Millisecond
	// waitLimit bounds the wait for an owner that is gone and whose last bytes still leave.
	waitLimit = 20 * time.Second
	// nopEvery is how often a waiting client gets a Telnet NOP: attach gives a server 3 s for its first bytes.
	nopEvery = time.Second
	// acquireEvery is how often a waiting client tries again.
	acquireEvery = 50 * time.Millisecond
)

// acquire waits for the device and reports whether v owns it now, until release. It waits for patience, while endIfDead
// checks the owner, and while the last bytes of an owner that is gone still leave (waitLimit bounds that).
func (s *Server) acquire(ctx context.Context, v *visitor, patience time.Duration) bool {
	checking, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	until, lastNOP := began.Add(patience), time.Time{}
	freed, pending := s.endIfDead(checking, v), true
	again := time.NewTicker(acquireEvery)
	defer again.Stop()
	for {
		select {
		case s.ownerSlot <- struct{}{}:
			return true
		case soon := <-freed:
			pending = false
			if soon {
				until = time.Now().Add(handover)
			}
			continue
		case <-again.C:
		case <-ctx.Done():
			return false
		}
		now, owner, ended := time.Now(), s.lastOwner(), v.tcp.Facts().Ended
		speaks := v.kept || v.wants()
		wants := speaks && !ended // it has not left again
		if wants {
			owner.want(now)
		}
		leaving := wants && owner.left() && now.Sub(began) < waitLimit
		if leaving {
			s.visitors.keep(v)
			if !v.agreed && now.Sub(lastNOP) >= nopEvery {
				lastNOP = now
				if _, err := v.conn.Write([]byte{byte(telnet.IAC), byte(telnet.NOP)}); err != nil { // so few bytes never block
					return false // it is gone; not every system reports that in Facts
				}
			}
		}
		if !leaving && !pending && !now.Before(until) || !speaks && ended {
			return false
		}
	}
}

// endIfDead starts owner.endIfDead in a goroutine, which ends with ctx, and returns the channel of its result.
func (s *Server) endIfDead(ctx context.Context, v *visitor) <-chan bool {
	freed, owner := make(chan bool, 1), s.lastOwner()
	go func() { freed <- owner.endIfDead(ctx, v.conn) }()
	return freed
}

// tryAcquire is acquire without waiting.
func (s *Server) tryAcquire() bool {
	select {
	case s.ownerSlot <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *Server) release() { <-s.ownerSlot }

// setOwner records which client has the device.
func (s *Server) setOwner(v *visitor) *owner {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner = &owner{conn: v.conn, tcp: v.tcp, hangUp: v.hangUp}
	return s.owner
}

// lastOwner returns the client that owns the device, or owned it last; nil: there was none yet.
func (s *Server) lastOwner() *owner {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owner
}
