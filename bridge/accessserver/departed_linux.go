package accessserver

import (
	"net"

	"golang.org/x/sys/unix"
)

// departed reports whether the client has closed the connection, or TCP has given it up. It looks and does not read:
// where the device takes nothing, the client's FIN stands behind bytes that nobody can read. It never blocks.
func departed(conn net.Conn) bool {
	tcp := tcpOf(conn)
	if tcp == nil {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true // closed here
	}
	gone := false
	_ = raw.Control(func(fd uintptr) { // fails where the connection is closed here: the session knows
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		gone = err == nil && info.State != unix.BPF_TCP_ESTABLISHED
	})
	return gone
}
