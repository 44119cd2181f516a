package ptyhost

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notice is one thing that the kernel tells about the slave.
type notice int32

const (
	noticeWrote   notice = iota + 1 // the application wrote (or we read)
	noticeChanged                   // the application changed the termios
)

// latch tells "changed, then wrote" from "wrote, then changed". Nobody waits on it: it is an epoll set that has the
// slave twice, edge-triggered, so that its ready list keeps in which order the two happened first. The kernel's wake-up
// for a write carries EPOLLOUT and passes the first entry alone; the one for a termios change carries no key, and
// passes the second entry, then the first. A look takes the list and so empties the latch.
//
// While the tty's write lock is held the kernel answers "not writable" to a look, and the mark is lost: so a change whose
// mark is missing came before the write that holds the lock. What stays wrong: a write's mark is made at its end, when a
// fast reader has its bytes and looked already; then it counts for the next bytes.
type latch struct{ set int }

func newLatch() (latch, error) {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return latch{-1}, fmt.Errorf("epoll: %w", err)
	}
	return latch{set}, nil
}

// add watches a slave by two of its descriptors, which leave the set when they are closed.
func (l latch) add(slave, twin int) error {
	wrote := unix.EpollEvent{Events: unix.EPOLLET | unix.EPOLLOUT, Fd: int32(noticeWrote)}
	if err := unix.EpollCtl(l.set, unix.EPOLL_CTL_ADD, slave, &wrote); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	// The last one added is the first one asked: see above.
	changed := unix.EpollEvent{Events: unix.EPOLLET | unix.EPOLLWRNORM, Fd: int32(noticeChanged)}
	if err := unix.EpollCtl(l.set, unix.EPOLL_CTL_ADD, twin, &changed); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	l.look() // what is new counts as ready
	return nil
}

// marks is what a look has found.
type marks struct {
	first   notice // 0: nothing
	changed bool
}

// order is which came first where the termios was seen to have changed before the look.
func (m marks) order() notice {
	if !m.changed {
		return noticeChanged // its mark was lost to the lock of a later write
	}
	return m.first
}

// look empties the latch.
func (l latch) look() (m marks) {
	var events [2]unix.EpollEvent
	n := epollWait(l.set, events[:])
	for i := n - 1; i >= 0; i-- {
		m.first = notice(events[i].Fd)
		m.changed = m.changed || m.first == noticeChanged
	}
	return m
}

// epollWait takes what is ready, without waiting, and returns how much. It does not tell the scheduler: see package terminal.
func epollWait(set int, events []unix.EpollEvent) int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(set), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}
