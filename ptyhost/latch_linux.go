package ptyhost

import (
	"fmt"

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
// It errs where the application's write or change falls into the look itself, and where the kernel answers "not
// writable" because the tty's write lock is held: then a change may be missing in the list. Measured, 99.6 to 100 of
// 100 patterns with 200 microseconds between come out right.
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

// look empties the latch, and returns what happened first; 0: nothing.
func (l latch) look() notice {
	var events [2]unix.EpollEvent
	if epollWait(l.set, events[:]) == 0 {
		return 0
	}
	return notice(events[0].Fd)
}
