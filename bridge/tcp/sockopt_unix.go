//go:build unix

package tcp

import "syscall"

// inline sets SO_OOBINLINE: see Listen.
func inline(raw syscall.RawConn) { setSocketOption(raw, syscall.SO_OOBINLINE, 1) }

func setReceiveBuffer(raw syscall.RawConn, n int) { setSocketOption(raw, syscall.SO_RCVBUF, n) }

func setSocketOption(raw syscall.RawConn, option, value int) {
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, option, value) })
}

// peek returns the first byte received and not read.
func peek(raw syscall.RawConn) (first byte, any bool) {
	_ = raw.Control(func(fd uintptr) {
		var p [1]byte
		n, _, err := syscall.Recvfrom(int(fd), p[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		first, any = p[0], err == nil && n > 0
	})
	return first, any
}
