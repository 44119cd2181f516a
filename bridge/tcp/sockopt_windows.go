package tcp

import (
	"syscall"
	"unsafe"
)

// Constants of winsock2.h that package syscall does not have.
const (
	soOOBInline = 0x0100     // SO_OOBINLINE
	fionread    = 0x4004667F // FIONREAD
	msgPeek     = 0x2        // MSG_PEEK
)

// inline sets SO_OOBINLINE: see Listen.
func inline(raw syscall.RawConn) { setSocketOption(raw, soOOBInline, 1) }

func setReceiveBuffer(raw syscall.RawConn, n int) { setSocketOption(raw, syscall.SO_RCVBUF, n) }

func setSocketOption(raw syscall.RawConn, option, value int) {
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, option, value)
	})
}

// peek returns the first byte received and not read. These sockets block, so it first checks whether there is one.
func peek(raw syscall.RawConn) (first byte, any bool) {
	_ = raw.Control(func(fd uintptr) {
		s := syscall.Handle(fd)
		var unread, n uint32
		err := syscall.WSAIoctl(s, fionread, nil, 0, (*byte)(unsafe.Pointer(&unread)), uint32(unsafe.Sizeof(unread)), &n, nil, 0)
		if err != nil || unread == 0 {
			return
		}
		flags := uint32(msgPeek)
		err = syscall.WSARecv(s, &syscall.WSABuf{Len: 1, Buf: &first}, 1, &n, &flags, nil, nil)
		any = err == nil && n > 0
	})
	return first, any
}
