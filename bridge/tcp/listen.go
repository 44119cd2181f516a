package tcp

import (
	"net"
	"syscall"
)

// Room is how many bytes of a peer a connection holds, about, which a listener has accepted that was given Listen: as many
// cannot be called back by a purge, and are lost with the session.
const Room = 8 << 10

// Listen gives a listener, and so the connections that it accepts, what an access server wants of them from their first
// byte on: Prepare's, and no more room than Room. What has no socket below it stays as it is.
func Listen(l net.Listener) {
	Prepare(l)
	if s, ok := l.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			setRoom(raw, Room)
		}
	}
}

// Peek returns the first byte that has come and nobody has read, without reading it, and whether there is one: false also on
// systems that do not tell, and where the connection is closed here. It never blocks.
func Peek(conn *net.TCPConn) (first byte, any bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, false
	}
	return peek(raw)
}
