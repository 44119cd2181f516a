//go:build amd64 || arm64

package run

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The structures of linux/seccomp.h that are passed through a listener.

// notification is struct seccomp_notif: a program is blocked in a system call.
type notification struct {
	ID    uint64
	TID   uint32 // of the thread, in this process's PID namespace
	Flags uint32
	Data  struct {
		Number int32
		Arch   uint32
		IP     uint64
		Args   [6]uint64
	}
}

// response is struct seccomp_notif_resp.
type response struct {
	ID    uint64
	Value int64
	Error int32 // negative errno
	Flags uint32
}

// addfd is struct seccomp_notif_addfd.
type addfd struct {
	ID       uint64
	Flags    uint32
	FD       uint32
	NewFD    uint32
	NewFlags uint32
}

// listener is the listener of a filter. One goroutine at a time receives calls; any goroutine answers them.
//
// Two kinds of signals matter here. A signal to the program interrupts its call until it is answered, as a driver's
// call would be: the kernel makes it fail with EINTR or restarts it, and the answer fails with ENOENT. So a call that
// returns EINTR may have had its effect, and with SA_RESTART the same call is received twice: see restart_linux.go. The
// flag that blocks signals during a call, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, is not used. It would keep the
// machine from sleeping, a freezer and a debugger from stopping the program, and a signal from ending a call that waits
// forever.
//
// A signal to this process interrupts the current request, and Go's runtime sends itself many. The comment of each
// request says what that does.
type listener struct {
	fd        int
	buf       []uint64       // the kernel's struct seccomp_notif, which may be larger than ours; the receiving goroutine's
	ids       *idTable       // the calls that were received and not answered, for a standby; nil if there is none
	pathCalls *pathCallTable // those of them with paths; likewise

	injector    *injector         // adds descriptors
	addRequests chan addfdRequest // to the thread that adds them if there is no injector
	closed      chan struct{}     // closed by close
}

func newListener(fd int) *listener {
	return &listener{
		fd: fd, buf: make([]uint64, notificationSize()/8),
		injector: &injector{socket: -1}, addRequests: make(chan addfdRequest), closed: make(chan struct{}),
	}
}

// close closes the listener. Nobody may receive any more; answers fail from then on.
func (l *listener) close() {
	close(l.closed)
	l.injector.close()
	_ = unix.Close(l.fd)
}

// notificationSize is the size of the kernel's struct seccomp_notif, rounded up to whole words.
func notificationSize() uintptr {
	var sizes [3]uint16 // struct seccomp_notif_sizes: of notification, response and seccomp_data
	size := uintptr(0)
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes))); errno == 0 {
		size = uintptr(sizes[0])
	}
	return (max(size, unsafe.Sizeof(notification{})) + 7) / 8 * 8
}

// errNoPrograms means that no process has the filter any more.
var errNoPrograms = errors.New("no program is left")

// noStop is a stop descriptor for receive that never becomes readable: poll ignores it.
const noStop = -1

// receive waits for the next call. It fails with errNoPrograms, or with ECANCELED when the descriptor stop becomes
// readable.
//
// A signal to this process: poll fails with EINTR, or reports POLLERR if the filter's lock was taken at that moment;
// both mean nothing. SECCOMP_IOCTL_NOTIF_RECV is interruptible only before it takes a call, so EINTR loses none.
// SIGKILL: the kernel finishes the request first, so a call that it has taken is always in buf, where the standby finds
// it.
func (l *listener) receive(stop int) (n notification, err error) {
	fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil {
			if err == unix.EINTR {
				continue
			}
			return n, err
		}
		switch {
		case fds[1].Revents != 0:
			return n, unix.ECANCELED
		case fds[0].Revents&unix.POLLIN != 0:
			clear(l.buf) // the kernel demands zeroes; the previous call is in ids, or answered
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&l.buf[0])))
			if errno == 0 {
				n = *(*notification)(unsafe.Pointer(&l.buf[0]))
				l.ids.add(n.ID)
				return n, nil
			}
			if errno != unix.ENOENT && errno != unix.EINTR { // ENOENT: the thread was killed or interrupted
				return n, errno
			}
		case fds[0].Revents&unix.POLLHUP != 0:
			return n, errNoPrograms
		case fds[0].Revents&unix.POLLNVAL != 0:
			return n, unix.EBADF
		}
	}
}

// valid reports whether the call still waits for its answer. If so, everything read from the process so far was its
// own, not that of another process with the same number.
//
// A signal to this process: EINTR if the filter's lock is taken at that moment.
func (l *listener) valid(id uint64) bool {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_ID_VALID, uintptr(unsafe.Pointer(&id)))
		if errno != unix.EINTR {
			return errno == 0
		}
	}
}

// respond answers a call, and reports whether the program still waited for it. For less than a microsecond this may be
// wrong: the kernel accepts an answer for a call that has seen a signal and has not left yet.
//
// A signal to this process: EINTR before anything was done.
func (l *listener) respond(r response) bool {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
		if errno != unix.EINTR {
			l.ids.remove(r.ID)
			return errno == 0
		}
	}
}
