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

// Descriptors for programs: SECCOMP_IOCTL_NOTIF_ADDFD of seccomp_unotify(2).
//
// Installing the descriptor and answering the call are one request (SECCOMP_ADDFD_FLAG_SEND, Linux 5.14). With two, a
// signal in between would leave the program with a descriptor that it does not know of. The kernel marks the call as
// answered, with 0, and waits, interruptibly, until the program has taken the descriptor. If the requesting thread is
// interrupted while it waits, the kernel withdraws the descriptor but not the answer: open() returns 0. So another
// process makes the request (injector_linux.go), in a thread with all signals blocked. What cannot be blocked remains:
// SIGSTOP or SIGKILL to that process, or a freezer that holds both processes, within these microseconds. Without that
// process, a thread of this process with all signals blocked makes the request.
//
// Before Linux 5.14 these are two requests. A signal to this process cannot tear either: the first has installed the
// descriptor and returns its number, or has done nothing.

// addfdRequest is a request to the thread that adds descriptors.
type addfdRequest struct {
	addfd
	result chan<- unix.Errno
}

// errInterrupted means that the program no longer waits for the descriptor, and did not get one.
var errInterrupted = errors.New("the call was interrupted")

// returnFD installs a copy of fd in the program as the result of its call. It blocks until the program runs. The error
// is errInterrupted, or an errno for the program, such as EMFILE.
func (l *listener) returnFD(id uint64, fd int, closeOnExec bool) error {
	a := addfd{ID: id, Flags: unix.SECCOMP_ADDFD_FLAG_SEND, FD: uint32(fd)}
	if closeOnExec {
		a.NewFlags = unix.O_CLOEXEC
	}
	switch errno := l.addFD(a); errno {
	case 0:
		l.ids.remove(id)
		return nil
	case unix.ENOENT, unix.ESRCH, unix.EINPROGRESS: // interrupted before or during the request, or the injector is stopped
		return errInterrupted
	default:
		return errno
	}
}

// addFDHere makes the request in this process, in the thread of serveAddFD.
func (l *listener) addFDHere(a addfd) unix.Errno {
	result := make(chan unix.Errno, 1)
	select {
	case l.addRequests <- addfdRequest{a, result}:
		return <-result
	case <-l.closed:
		return unix.ENOENT
	}
}

// serveAddFD makes the requests of addFDHere, in a thread of its own that ends with it. Program.listen starts it; close
// ends it.
func (l *listener) serveAddFD() {
	runtime.LockOSThread() // never unlocked: the runtime ends the thread with this goroutine
	err := blockSignals()
	for {
		select {
		case a := <-l.addRequests:
			if err != nil {
				a.result <- errnoOf(err)
				continue
			}
			a.result <- l.addAndSend(a.addfd)
		case <-l.closed:
			return
		}
	}
}

// blockSignals blocks all signals of this thread but those of its own faults.
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

// addAndSend installs a descriptor and answers the call.
func (l *listener) addAndSend(a addfd) unix.Errno {
	_, errno := l.ioctlAddFD(&a)
	if errno == unix.EINVAL { // before Linux 5.14
		a.Flags = 0
		var got int
		if got, errno = l.ioctlAddFD(&a); errno == 0 && !l.respond(response{ID: a.ID, Value: int64(got)}) {
			return unix.ENOENT
		}
	}
	return errno
}

// ioctlAddFD is SECCOMP_IOCTL_NOTIF_ADDFD.
func (l *listener) ioctlAddFD(a *addfd) (fd int, errno unix.Errno) {
	for {
		got, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_ADDFD, uintptr(unsafe.Pointer(a)))
		if errno != unix.EINTR {
			return int(got), errno
		}
	}
}
