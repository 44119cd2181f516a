//go:build !linux

package tcp

import "net"

// peer is empty: this system reports nothing about the peer.
type peer struct{}

// limitRetries has no equivalent here.
func limitRetries(*net.TCPConn) {}

// Unacked is unknown here.
func (*Socket) Unacked() int { return -1 }

// Facts are unknown here: TCP's own timers detect a dead peer.
func (*Socket) Facts() Facts { return Facts{} }
