package ptyhost_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// readByte reads one byte from a non-blocking descriptor, without telling Go's scheduler, which would wake threads.
func readByte(fd int) bool {
	var p [1]byte
	n, _, _ := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), 1)
	return n == 1
}
