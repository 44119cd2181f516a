//go:build !linux

package tcp

import "net"

// peer remembers nothing: this system reports nothing of it.
type peer struct{}

// limitRetries has no equivalent here.
func limitRetries(*net.TCPConn) {}

// Unacked is unknown here.
func (*Socket) Unacked() int { return -1 }

// Facts are unknown here: TCP's own timers detect a dead peer.
func (*Socket) Facts() Facts { return Facts{} }
