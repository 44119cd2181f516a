//go:build amd64 || arm64

package run

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The structures of linux/seccomp.h that go through a listener.

// notification is struct seccomp_notif: a program stands still in a system call.
type notification struct {
	ID    uint64
	TID   uint32 // of the thread, as this process sees it
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

// addition is struct seccomp_notif_addfd.
type addition struct {
	ID       uint64
	Flags    uint32
	FD       uint32
	NewFD    uint32
	NewFlags uint32
}

// listener is the descriptor of a filter's listener. Calls of a program are received by one goroutine, and answered by any.
type listener struct {
	fd       int
	killable bool     // a call that was received is interrupted by fatal signals only
	room     []uint64 // for the kernel's struct seccomp_notif, which may be larger than ours
	ledger   *ledger  // of the calls that were received and not answered; nil: nobody asks
	held     *held    // what is known of those with paths; likewise
}

func newListener(fd int) *listener {
	var sizes [3]uint16 // struct seccomp_notif_sizes: of notification, response and seccomp_data
	size := uintptr(0)
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes))); errno == 0 {
		size = uintptr(sizes[0])
	}
	return &listener{fd: fd, room: make([]uint64, (max(size, unsafe.Sizeof(notification{}))+7)/8)}
}

// errOver says that no program has the filter any more.
var errOver = errors.New("no program is left")

// receive waits for the next call. It fails with errOver, or by stop, a descriptor that becomes readable.
func (l *listener) receive(stop int) (n notification, err error) {
	fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return n, err
		}
		switch {
		case fds[1].Revents != 0:
			return n, unix.ECANCELED
		case fds[0].Revents&unix.POLLIN != 0:
			clear(l.room) // the kernel wants zeroes
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&l.room[0])))
			if errno == 0 {
				n = *(*notification)(unsafe.Pointer(&l.room[0]))
				l.ledger.enter(n.ID)
				return n, nil
			}
			if errno != unix.ENOENT && errno != unix.EINTR { // ENOENT: killed or interrupted meanwhile
				return n, errno
			}
		case fds[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0:
			return n, errOver
		}
	}
}

// valid reports whether the call still waits for its answer: what was read of the process until now was its own.
func (l *listener) valid(id uint64) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_ID_VALID, uintptr(unsafe.Pointer(&id)))
	return errno == 0
}

// send answers a call. It does nothing where the program does not wait any more.
func (l *listener) send(r response) {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
		if errno != unix.EINTR {
			l.ledger.strike(r.ID)
			return
		}
	}
}

// inject gives the program a copy of fd as the result of its call. A program that is interrupted gets none. The error is
// the program's: it has too many descriptors open.
func (l *listener) inject(id uint64, fd int, closeOnExec bool) error {
	a := addition{ID: id, Flags: unix.SECCOMP_ADDFD_FLAG_SEND, FD: uint32(fd)}
	if closeOnExec {
		a.NewFlags = unix.O_CLOEXEC
	}
	_, errno := l.add(&a)
	if errno == unix.EINVAL { // before Linux 5.14, adding and answering are two steps
		a.Flags = 0
		var got int
		if got, errno = l.add(&a); errno == 0 {
			l.send(response{ID: id, Value: int64(got)})
		}
	}
	if errno != 0 && errno != unix.ENOENT {
		return errno
	}
	l.ledger.strike(id)
	return nil
}

func (l *listener) add(a *addition) (fd int, errno unix.Errno) {
	for {
		got, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_ADDFD, uintptr(unsafe.Pointer(a)))
		if errno != unix.EINTR {
			return int(got), errno
		}
	}
}
