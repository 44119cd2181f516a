package tcp

import (
	"net"

	"golang.org/x/sys/unix"
)

// SetRoom has the kernel take about n bytes more of the peer than were read. It is for growing: what the peer was promised
// it may send. Where the listener was given little room, the window is 64 KiB at most (it has no scale).
func SetRoom(conn *net.TCPConn, n int) {
	control(conn, func(fd int) {
		if n > room(fd) {
			grow(fd, n)
		}
	})
}

// room is how large the receive buffer was made; the kernel says, and takes, twice as much (socket(7), SO_RCVBUF).
func room(fd int) int {
	doubled, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return doubled / 2
}

// grow makes the receive buffer n bytes.
func grow(fd, n int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n)
	// Older kernels go by the clamp that the first window has left, whatever room there is (tcp(7), TCP_WINDOW_CLAMP).
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, n)
}
