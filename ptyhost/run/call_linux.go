//go:build amd64 || arm64

package run

import (
	"golang.org/x/sys/unix"
)

// call is a system call of a program that waits for its answer. It is answered once, by any goroutine; answering one whose
// program is gone does nothing.
type call struct {
	host  *Host
	l     *listener
	abi   *abi
	n     notification
	shift *shift // in which it was received
	once  bool   // it must not be performed twice, also where a signal has interrupted it

	room  [roomSize]byte
	said  []byte // of room: what the program's memory says, for an ioctl that reads it
	gift  []byte // of room: what an ioctl writes there; nil: nothing
	place uint64 // where
}

// roomSize is the size of the largest structure that an ioctl of serialRequests carries.
const roomSize = 80

// answer lets the call return a value.
func (c *call) answer(value int64) { c.send(response{Value: value}) }

// fail lets the call fail.
func (c *call) fail(errno unix.Errno) { c.send(response{Error: -int32(errno)}) }

// conclude lets the call return 0, or fail where errno is not 0.
func (c *call) conclude(errno unix.Errno) { c.send(response{Error: -int32(errno)}) }

// send answers the call, and reports whether the program waited for it. An answer that must not be found twice is kept for
// when the program calls again.
func (c *call) send(r response) bool {
	r.ID = c.n.ID
	if c.l.send(r) {
		return true
	}
	if c.once {
		c.host.keepAnswer(c, r)
	}
	return false
}

// proceed lets the kernel perform the call, as if nobody had looked. It reports whether the program waited for it.
func (c *call) proceed() bool {
	return c.l.send(response{ID: c.n.ID, Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

// inject lets the call return a copy of a descriptor. The error is errGone where the program does not wait any more.
func (c *call) inject(fd int, closeOnExec bool) error { return c.l.inject(c.n.ID, fd, closeOnExec) }

// take reads p from the program's memory. Where it is false the call has failed, or the program does not wait any more: what
// was read may be anything then.
func (c *call) take(address uint64, p []byte) bool {
	if err := readMemory(c.n.TID, c.address(address), p); err != nil {
		c.fail(unix.EFAULT)
		return false
	}
	return c.valid()
}

// give writes p to the program's memory and lets the call return 0. The memory of one that does not wait any more is its own
// again: it is looked at as late as can be. A signal between the look and the write is not seen, some microsecond; then p is
// written where the call said, though it has returned EINTR. Nothing but a call that no signal can interrupt would be without
// that (seccomp_unotify(2), and see listener).
func (c *call) give(address uint64, p []byte) {
	if !c.valid() {
		return
	}
	if err := writeMemory(c.n.TID, c.address(address), p); err != nil {
		c.fail(unix.EFAULT)
		return
	}
	c.answer(0)
}

// fetch reads what an ioctl carries to the port. Where it is false the call is over, as take has it.
//
// The memory of a program may be that of a file, whose server is dead or waits for the port itself: so it is read before the
// port's lock is taken, and written by deliver when that is free again.
func (c *call) fetch() bool {
	n := carriedBy(uint32(c.n.Data.Args[1]))
	if n == 0 {
		return true
	}
	c.said = c.room[:n]
	return c.take(c.n.Data.Args[2], c.said)
}

// gives is give for who holds the port's lock: deliver does it.
func (c *call) gives(address uint64, p []byte) { c.gift, c.place = append(c.room[:0], p...), address }

// deliver does what gives has left, if there was something.
func (c *call) deliver() {
	if c.gift != nil {
		c.give(c.place, c.gift)
	}
}

// address is an address as the kernel takes it from a program of this set.
func (c *call) address(a uint64) uint64 {
	if c.abi.narrow {
		return uint64(uint32(a))
	}
	return a
}

// x32 reports whether the program is of the kind that has 32-bit pointers and 64-bit registers.
func (c *call) x32() bool { return x32Bit != 0 && uint32(c.n.Data.Number)&x32Bit != 0 }

// entry finds what the call does.
func (c *call) entry() (entry, bool) {
	if c.abi == nil {
		return entry{}, false
	}
	e, ok := c.abi.calls[uint32(c.n.Data.Number)&^x32Bit]
	return e, ok
}
