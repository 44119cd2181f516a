package ptyhost

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notice is an event that the kernel reports about the slave.
type notice int32

const (
	noticeWrote   notice = iota + 1 // the application wrote (or we read)
	noticeChanged                   // the application changed the termios
)

// order distinguishes "changed, then wrote" from "wrote, then changed". It is an epoll set that is never waited for. It
// has the slave twice, edge-triggered, so that its ready list keeps the order in which the two first happened. The
// kernel's wake-up for a write carries EPOLLOUT and matches the first entry only; the one for a termios change carries
// no key and matches the second entry, then the first. take empties the list.
//
// While the tty's write lock is held the slave polls as not writable, so take finds no notice of a change and loses it:
// a change without a notice came before the write that holds the lock. One error remains: a write's notice is added
// when the write ends. A fast reader has read its bytes by then and has called take already, so the notice counts for
// the next bytes.
type order struct{ set int }

func newOrder() (order, error) {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return order{-1}, fmt.Errorf("epoll: %w", err)
	}
	return order{set}, nil
}

// add adds both descriptors of s to the set. Closing them removes them.
func (o order) add(s ownSlave) error {
	wrote := unix.EpollEvent{Events: unix.EPOLLET | unix.EPOLLOUT, Fd: int32(noticeWrote)}
	if err := unix.EpollCtl(o.set, unix.EPOLL_CTL_ADD, s.fd, &wrote); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	// The kernel wakes the entry that was added last first.
	changed := unix.EpollEvent{Events: unix.EPOLLET | unix.EPOLLWRNORM, Fd: int32(noticeChanged)}
	if err := unix.EpollCtl(o.set, unix.EPOLL_CTL_ADD, s.twin, &changed); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	o.take() // new entries count as ready
	return nil
}

// notices is the result of take.
type notices struct {
	first   notice // 0: none
	changed bool   // one of them is noticeChanged
}

// earlier returns which came first, given that the termios was found changed before take.
func (n notices) earlier() notice {
	if !n.changed {
		return noticeChanged // a later write held the lock, so this notice was lost
	}
	return n.first
}

// take returns the notices since the last call and empties the list.
func (o order) take() (found notices) {
	var events [2]unix.EpollEvent
	n := epollNow(o.set, events[:])
	for i := n - 1; i >= 0; i-- {
		found.first = notice(events[i].Fd)
		found.changed = found.changed || found.first == noticeChanged
	}
	return found
}

// epollNow is epoll_wait(2) without waiting, and returns the number of events. It does not notify Go's scheduler
// (RawSyscall), because it never blocks; see terminal/wait_linux.go.
func epollNow(set int, events []unix.EpollEvent) int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(set), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}
