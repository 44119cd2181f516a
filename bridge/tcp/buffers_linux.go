package tcp

import (
	"net"

	"golang.org/x/sys/unix"
)

// notSentLowat limits how many unsent bytes the kernel takes from us: a purge cannot drop those. It does not limit the
// window, so a long link keeps its speed (tcp(7), TCP_NOTSENT_LOWAT).
const notSentLowat = 16 << 10

// limitUnsent sets notSentLowat. A kernel without the option only holds more bytes.
func limitUnsent(conn *net.TCPConn) {
	control(conn, func(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat) })
}

// growReceiveBuffer makes the receive buffer n bytes, unless it is larger. If the listener's buffer was small, the window
// is 64 KiB at most: the connection was made without window scaling (RFC 7323, 2).
func growReceiveBuffer(conn *net.TCPConn, n int) {
	control(conn, func(fd int) {
		if n > receiveBuffer(fd) {
			setBuffer(fd, n)
		}
	})
}

// receiveBuffer returns the size that was set for the receive buffer: the kernel reports, and uses, twice as much (socket(7),
// SO_RCVBUF).
func receiveBuffer(fd int) int {
	doubled, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return doubled / 2
}

func setBuffer(fd, n int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n)
	// Older kernels keep the window clamp that the first window has set, whatever the buffer's size (tcp(7),
	// TCP_WINDOW_CLAMP).
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, n)
}
