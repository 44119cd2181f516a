//go:build !linux

package tcp

import "net"

// memory is empty: this system reports nothing about the peer. TCP's own timers detect a dead one.
type memory struct{}

func (memory) facts() (unknown Facts) { return unknown }

// Facts are unknown here.
func (s *Socket) Facts() Facts {
	if s == nil {
		return Facts{}
	}
	return s.facts()
}

// limitRetries has no equivalent here.
func limitRetries(*net.TCPConn) {}

// Unacked is unknown here.
func (*Socket) Unacked() int { return -1 }
