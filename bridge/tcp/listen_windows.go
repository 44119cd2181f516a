package tcp

import "syscall"

func setRoom(raw syscall.RawConn, n int) {
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, n)
	})
}

func peek(syscall.RawConn) (first byte, any, known bool) { return 0, false, false }
