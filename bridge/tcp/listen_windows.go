package tcp

import (
	"syscall"
	"unsafe"
)

func setRoom(raw syscall.RawConn, n int) {
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, n)
	})
}

// fionread is FIONREAD, msgPeek MSG_PEEK, of winsock2.h.
const fionread, msgPeek = 0x4004667F, 0x2

// peek returns the first byte that has come and nobody has read. These sockets block: it asks first whether there is one.
func peek(raw syscall.RawConn) (first byte, any bool) {
	_ = raw.Control(func(fd uintptr) {
		s := syscall.Handle(fd)
		var waits, n uint32
		err := syscall.WSAIoctl(s, fionread, nil, 0, (*byte)(unsafe.Pointer(&waits)), uint32(unsafe.Sizeof(waits)), &n, nil, 0)
		if err != nil || waits == 0 {
			return
		}
		flags := uint32(msgPeek)
		err = syscall.WSARecv(s, &syscall.WSABuf{Len: 1, Buf: &first}, 1, &n, &flags, nil, nil)
		any = err == nil && n > 0
	})
	return first, any
}
