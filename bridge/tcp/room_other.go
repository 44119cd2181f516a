//go:build !linux

package tcp

import "net"

// SetRoom has the system take about n bytes more of the peer than were read. It is for growing: what the peer was promised
// it may send.
func SetRoom(conn *net.TCPConn, n int) { _ = conn.SetReadBuffer(n) }
