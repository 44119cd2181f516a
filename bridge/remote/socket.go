package remote

import (
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/uart"
)

// socket is what TCP knows of a session's connection. Every method may be called by anyone at any time and never blocks.
type socket struct{ watch *tcp.Watch }

// Unacked is how many bytes were written and are not acknowledged by the peer's TCP, sent or not; -1: unknown here.
func (s *socket) Unacked() int { return s.watch.Unacked() }

// Alive is what TCP knows of the peer.
func (s *socket) Alive() uart.Peer {
	f := s.watch.Look()
	return uart.Peer{Ended: f.Ended, Unread: f.Unread, Acked: f.Acked, Waiting: f.Waiting}
}
