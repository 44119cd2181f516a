//go:build unix

package tcp

import "syscall"

func inline(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_OOBINLINE, 1) })
}
