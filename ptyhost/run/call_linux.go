//go:build amd64 || arm64

package run

import (
	"golang.org/x/sys/unix"
)

// call is a system call in which a program is blocked. It is answered once, by any goroutine; answering a call whose
// program is gone does nothing.
type call struct {
	// Constant.
	host     *Host
	l        *listener
	abi      *abi // nil if unknown
	n        notification
	receiver *receiver // the goroutine that received it

	// Owned by the goroutine that performs it.
	onceOnly bool // it must not be performed twice, even if a signal interrupts it: see matchRestart
	memory   callMemory
}

// callMemory is what an ioctl reads from the program's memory and writes there.
type callMemory struct {
	buf     [bufSize]byte // backs arg and result
	arg     []byte        // what the ioctl's argument points to, if it reads that
	result  []byte        // to be written at address by deliverResult; nil: nothing
	address uint64
}

// bufSize is the size of the largest structure that an ioctl of serialRequests reads or writes.
const bufSize = 80

// returnValue makes the call return value.
func (c *call) returnValue(value int64) { c.respond(response{Value: value}) }

// fail makes the call fail.
func (c *call) fail(errno unix.Errno) { c.respond(response{Error: -int32(errno)}) }

// finish makes the call return 0, or fail if errno is not 0.
func (c *call) finish(errno unix.Errno) { c.respond(response{Error: -int32(errno)}) }

// respond answers the call, and reports whether the program still waited for it. A late response to a call that must
// not be performed twice is kept for the restarted call.
func (c *call) respond(r response) bool {
	r.ID = c.n.ID
	if c.l.respond(r) {
		return true
	}
	if c.onceOnly {
		c.host.keepLateResponse(c, r)
	}
	return false
}

// continueInKernel lets the kernel perform the call (SECCOMP_USER_NOTIF_FLAG_CONTINUE). It reports whether the program
// still waited for it.
func (c *call) continueInKernel() bool {
	return c.l.respond(response{ID: c.n.ID, Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

// returnFD makes the call return a copy of a descriptor. The error is errInterrupted if the program no longer waits.
func (c *call) returnFD(fd int, closeOnExec bool) error { return c.l.returnFD(c.n.ID, fd, closeOnExec) }

// readArg reads p from the program's memory. If it returns false, the call has failed, or the program no longer waits
// and p may hold anything.
func (c *call) readArg(address uint64, p []byte) bool {
	if err := readMemory(c.n.TID, c.address(address), p); err != nil {
		c.fail(unix.EFAULT)
		return false
	}
	return c.valid()
}

// writeResult writes p to the program's memory and makes the call return 0. The memory of a program that no longer
// waits must not be touched, so this is checked as late as possible. A signal between the check and the write, some
// microseconds, goes unnoticed: p is then written to the address that the call named, although the call has returned
// EINTR. Only calls that no signal can interrupt would be free of this (seccomp_unotify(2); see listener for why they
// are not used).
func (c *call) writeResult(address uint64, p []byte) {
	if !c.valid() {
		return
	}
	if err := writeMemory(c.n.TID, c.address(address), p); err != nil {
		c.fail(unix.EFAULT)
		return
	}
	c.returnValue(0)
}

// fetchArg reads the structure that an ioctl passes to the port. If it returns false the call is over, as with readArg.
//
// The memory of a program may be backed by a file whose server is dead, or waits for the port itself. So it is read
// before port.mu is taken, and deliverResult writes after port.mu is released.
func (c *call) fetchArg() bool {
	n := argSize(uint32(c.n.Data.Args[1]))
	if n == 0 {
		return true
	}
	c.memory.arg = c.memory.buf[:n]
	return c.readArg(c.n.Data.Args[2], c.memory.arg)
}

// deferResult is writeResult for a caller that holds port.mu: deliverResult does the write.
func (c *call) deferResult(address uint64, p []byte) {
	c.memory.result, c.memory.address = append(c.memory.buf[:0], p...), address
}

// deliverResult writes what deferResult has left, if anything.
func (c *call) deliverResult() {
	if c.memory.result != nil {
		c.writeResult(c.memory.address, c.memory.result)
	}
}

// address converts an address as the kernel does for a program of this ABI.
func (c *call) address(a uint64) uint64 {
	if c.abi.narrow {
		return uint64(uint32(a))
	}
	return a
}

// x32 reports whether the call is one of the x32 ABI: 32-bit pointers on 64-bit registers.
func (c *call) x32() bool { return x32Bit != 0 && uint32(c.n.Data.Number)&x32Bit != 0 }

// entry looks the call up in the table of its ABI.
func (c *call) entry() (entry, bool) {
	if c.abi == nil {
		return entry{}, false
	}
	e, ok := c.abi.calls[uint32(c.n.Data.Number)&^x32Bit]
	return e, ok
}
