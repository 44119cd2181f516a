package remote

import (
	"net"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/tcp"
)

// notSentLowat bounds what the kernel takes from us before it has sent it: bytes in there cannot be called back by a
// purge. It does not bound the window, so a long link keeps its speed (tcp(7), TCP_NOTSENT_LOWAT).
const notSentLowat = 16 << 10

func newSocket(conn *net.TCPConn) *socket {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // a kernel that lacks it only keeps more bytes under way
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat)
		})
	}
	return &socket{tcp.NewWatch(conn)}
}
