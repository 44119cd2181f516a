//go:build amd64 || arm64

package run

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Descriptors for programs: SECCOMP_IOCTL_NOTIF_ADDFD.
//
// Adding and answering are one request (SECCOMP_ADDFD_FLAG_SEND, Linux 5.14), as the program may be interrupted between two:
// it would have a descriptor that it does not know of. The kernel marks the call as answered, with 0, and waits,
// interruptibly, until the program has taken the descriptor. What interrupts the thread that waits takes the descriptor back
// and leaves the answer: open() returns 0. So the request is made by another process (give_linux.go), on a thread that gets
// no signals. What no thread can block is left: a SIGSTOP or SIGKILL to that process, or a freezer that has both processes,
// within these microseconds. Without that process, the request is made here, on such a thread.
//
// Before Linux 5.14, adding and answering are two requests. A signal to this process tears neither: the first has either
// added the descriptor, and says so, or has done nothing.

// adding is a request for the thread that gives descriptors.
type adding struct {
	addition
	result chan<- unix.Errno
}

// errGone says that the program does not wait for a descriptor any more, and has got none.
var errGone = errors.New("the call was interrupted")

// inject gives the program a copy of fd as the result of its call. The error is errGone, or the program's: it has too
// many descriptors open. It waits until the program runs.
func (l *listener) inject(id uint64, fd int, closeOnExec bool) error {
	a := addition{ID: id, Flags: unix.SECCOMP_ADDFD_FLAG_SEND, FD: uint32(fd)}
	if closeOnExec {
		a.NewFlags = unix.O_CLOEXEC
	}
	switch errno := l.give(a); errno {
	case 0:
		l.ledger.strike(id)
		return nil
	case unix.ENOENT, unix.ESRCH, unix.EINPROGRESS: // before, or while the kernel waited for it; or the giver was stopped
		return errGone
	default:
		return errno
	}
}

// giveHere has this process's own thread make the request.
func (l *listener) giveHere(a addition) unix.Errno {
	result := make(chan unix.Errno, 1)
	select {
	case l.adds <- adding{a, result}:
		return <-result
	case <-l.over:
		return unix.ENOENT
	}
}

// addAll gives descriptors, on a thread of its own that ends with it. It is started by
// Program.listen, and ends by close.
func (l *listener) addAll() {
	runtime.LockOSThread() // for good: the runtime ends the thread with this goroutine
	err := blockSignals()
	for {
		select {
		case a := <-l.adds:
			if err != nil {
				a.result <- errnoOf(err)
				continue
			}
			a.result <- l.addAndSend(a.addition)
		case <-l.over:
			return
		}
	}
}

// blockSignals keeps all signals from this thread but those of its own faults.
func blockSignals() error {
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	for _, fault := range []syscall.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGSYS} {
		all.Val[0] &^= 1 << (fault - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil); err != nil {
		return fmt.Errorf("block signals: %w", err)
	}
	return nil
}

// addAndSend makes the requests for one descriptor.
func (l *listener) addAndSend(a addition) unix.Errno {
	_, errno := l.add(&a)
	if errno == unix.EINVAL { // before Linux 5.14
		a.Flags = 0
		var got int
		if got, errno = l.add(&a); errno == 0 && !l.send(response{ID: a.ID, Value: int64(got)}) {
			return unix.ENOENT
		}
	}
	return errno
}

// add makes one request.
func (l *listener) add(a *addition) (fd int, errno unix.Errno) {
	for {
		got, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_ADDFD, uintptr(unsafe.Pointer(a)))
		if errno != unix.EINTR {
			return int(got), errno
		}
	}
}
