package remote

import (
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/uart"
)

// socket reports what TCP knows about a session's connection. Methods may be called from any goroutine and never block.
type socket struct{ tcp *tcp.Socket }

// Unacked returns how many bytes were written that the peer's TCP has not acknowledged, sent or not; -1: unknown here.
func (s *socket) Unacked() int { return s.tcp.Unacked() }

// Alive returns what TCP knows about the peer.
func (s *socket) Alive() uart.Peer {
	f := s.tcp.Facts()
	return uart.Peer{Ended: f.Ended, Unread: f.Unread, Acked: f.Acked, Waiting: f.Waiting}
}
