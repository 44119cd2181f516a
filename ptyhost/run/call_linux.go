//go:build amd64 || arm64

package run

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// call is a system call of a program that waits for its answer. It is answered once, by any goroutine; answering one whose
// program is gone does nothing.
type call struct {
	host *Host
	l    *listener
	abi  *abi
	n    notification
}

// answer lets the call return a value.
func (c *call) answer(value int64) { c.l.send(response{ID: c.n.ID, Value: value}) }

// fail lets the call fail.
func (c *call) fail(errno unix.Errno) { c.l.send(response{ID: c.n.ID, Error: -int32(errno)}) }

// conclude lets the call return 0, or fail where errno is not 0.
func (c *call) conclude(errno unix.Errno) { c.l.send(response{ID: c.n.ID, Error: -int32(errno)}) }

// proceed lets the kernel perform the call, as if nobody had looked.
func (c *call) proceed() {
	c.l.send(response{ID: c.n.ID, Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

// inject lets the call return a copy of a descriptor.
func (c *call) inject(fd int, closeOnExec bool) error { return c.l.inject(c.n.ID, fd, closeOnExec) }

// take reads p from the program's memory. Where it is false the call has failed.
func (c *call) take(address uint64, p []byte) bool {
	if err := readMemory(c.n.TID, c.address(address), p); err != nil {
		c.fail(unix.EFAULT)
		return false
	}
	return true
}

// give writes p to the program's memory and lets the call return 0.
func (c *call) give(address uint64, p []byte) {
	if err := writeMemory(c.n.TID, c.address(address), p); err != nil {
		c.fail(unix.EFAULT)
		return
	}
	c.answer(0)
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

// waits notes that the call waits. What it returns is closed where the program calls again from the same thread: then it
// does not wait any more.
func (c *call) waits() (gone chan struct{}) {
	gone = make(chan struct{})
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	c.host.waiting[c.n.TID] = gone
	return gone
}

func (c *call) waitsNoMore(gone chan struct{}) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if c.host.waiting[c.n.TID] == gone {
		delete(c.host.waiting, c.n.TID)
	}
}

// fileID says which file a descriptor or a path leads to.
type fileID struct{ device, inode uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{st.Dev, st.Ino} }

// descriptor is the file that the program's descriptor leads to.
func (c *call) descriptor(fd int32) (fileID, error) {
	var st unix.Stat_t
	err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", c.n.TID, fd), &st)
	return idOf(&st), err
}
