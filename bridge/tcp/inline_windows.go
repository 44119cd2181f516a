package tcp

import "syscall"

// soOOBInline is SO_OOBINLINE of winsock.h.
const soOOBInline = 0x0100

func inline(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, soOOBInline, 1)
	})
}
