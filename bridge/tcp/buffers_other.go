//go:build !linux

package tcp

import "net"

// limitUnsent has no equivalent here.
func limitUnsent(*net.TCPConn) {}

// growReceiveBuffer makes the receive buffer n bytes.
func growReceiveBuffer(conn *net.TCPConn, n int) { _ = conn.SetReadBuffer(n) }
