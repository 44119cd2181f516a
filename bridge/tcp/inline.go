package tcp

import (
	"net"
	"syscall"
)

// Control is for net.Dialer: a socket has its options before the peer can send the first byte.
func Control(_, _ string, raw syscall.RawConn) error {
	inline(raw)
	return nil
}

// Prepare gives a connection what every Telnet needs: urgent data stays in its place in the stream (SO_OOBINLINE). Telnet's
// Synch sends DM that way (RFC 854), and a kernel that took it out would leave a bare IAC, which eats the byte after it. On a
// raw connection an urgent byte is a byte of data. What has no socket below it, and a system that lacks the option, stay as
// they are.
func Prepare(conn any) {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = over.NetConn()
	}
	if s, ok := conn.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			inline(raw)
		}
	}
}
