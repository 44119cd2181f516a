//go:build !linux

package remote

import (
	"net"

	"telnetcpc/bridge/tcp"
)

func newSocket(conn *net.TCPConn) *socket { return &socket{tcp.NewWatch(conn)} }
