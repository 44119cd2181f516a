package uarttest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// icounter is struct serial_icounter_struct of linux/serial.h: cts, dsr, rng, dcd, rx, tx, frame, overrun, parity, brk,
// buf_overrun, and nine reserved.
type icounter [20]int32

const (
	countFrame   = 6
	countOverrun = 7
	countParity  = 8
	countBreak   = 9
)

// getCounts reads the counters of a serial driver (TIOCGICOUNT). A pty has none.
func getCounts(fd int) (c icounter, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGICOUNT, uintptr(unsafe.Pointer(&c)))
	if errno != 0 {
		return c, errno
	}
	return c, nil
}
