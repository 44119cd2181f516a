//go:build unix

package tcp

import "syscall"

func setRoom(raw syscall.RawConn, n int) {
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, n) })
}

// peek returns the first byte that has come and nobody has read.
func peek(raw syscall.RawConn) (first byte, any bool) {
	_ = raw.Control(func(fd uintptr) {
		var p [1]byte
		n, _, err := syscall.Recvfrom(int(fd), p[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		first, any = p[0], err == nil && n > 0
	})
	return first, any
}
