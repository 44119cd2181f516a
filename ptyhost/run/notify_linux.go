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
//
// Two signals matter here. One to the program interrupts its call until the call is answered, as it would a driver's: the
// kernel lets it fail with EINTR or makes it again, and an answer finds nobody (ENOENT). So a change may have been made by a
// call that says EINTR; who has asked for SA_RESTART sees the same call made twice, see once_linux.go. The flag that keeps
// signals from a call, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, is not used: it keeps the machine from sleeping, a freezer
// and a debugger from stopping the program, and a signal from a call that waits for ever.
//
// One to this process interrupts the request under way, and Go's runtime sends itself many. What that does to each request
// is said there.
type listener struct {
	fd     int
	room   []uint64 // for the kernel's struct seccomp_notif, which may be larger than ours; first in it is the id
	ledger *ledger  // of the calls that were received and not answered; nil: nobody asks
	held   *held    // what is known of those with paths; likewise

	giver *giver        // gives descriptors
	adds  chan adding   // to the thread that does it where there is no giver
	over  chan struct{} // closed by close
}

func newListener(fd int) *listener {
	return &listener{
		fd: fd, room: make([]uint64, notificationSize()/8),
		giver: &giver{socket: -1}, adds: make(chan adding), over: make(chan struct{}),
	}
}

// close closes the descriptor. Nobody receives any more; who answers yet finds nobody.
func (l *listener) close() {
	close(l.over)
	l.giver.close()
	_ = unix.Close(l.fd)
}

// notificationSize is how many bytes the kernel writes for a call, in whole words.
func notificationSize() uintptr {
	var sizes [3]uint16 // struct seccomp_notif_sizes: of notification, response and seccomp_data
	size := uintptr(0)
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes))); errno == 0 {
		size = uintptr(sizes[0])
	}
	return (max(size, unsafe.Sizeof(notification{})) + 7) / 8 * 8
}

// errOver says that no program has the filter any more.
var errOver = errors.New("no program is left")

// noStop is a descriptor that does not become readable, for receive: poll passes it over.
const noStop = -1

// receive waits for the next call. It fails with errOver, or by stop, a descriptor that becomes readable.
//
// A signal: poll ends with EINTR, or says POLLERR where the lock of the filter was taken just then; neither means anything.
// SECCOMP_IOCTL_NOTIF_RECV waits interruptibly only before it takes a call, so nothing is lost with its EINTR. A kill: the
// kernel finishes the request first, so a call that is taken is always noted in room, where the guard finds it.
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
			clear(l.room) // the kernel wants zeroes; the last call is in the ledger, or answered
			_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&l.room[0])))
			if errno == 0 {
				n = *(*notification)(unsafe.Pointer(&l.room[0]))
				l.ledger.enter(n.ID)
				return n, nil
			}
			if errno != unix.ENOENT && errno != unix.EINTR { // ENOENT: killed or interrupted meanwhile
				return n, errno
			}
		case fds[0].Revents&unix.POLLHUP != 0:
			return n, errOver
		case fds[0].Revents&unix.POLLNVAL != 0:
			return n, unix.EBADF
		}
	}
}

// valid reports whether the call still waits for its answer: what was read of the process until now was its own.
//
// A signal: EINTR, where the lock of the filter is taken just then.
func (l *listener) valid(id uint64) bool {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_ID_VALID, uintptr(unsafe.Pointer(&id)))
		if errno != unix.EINTR {
			return errno == 0
		}
	}
}

// send answers a call, and reports whether the program still waited for it. It may be wrong for less than a microsecond:
// the kernel takes an answer for a call that has seen a signal and not yet left.
//
// A signal: EINTR before anything was done.
func (l *listener) send(r response) bool {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
		if errno != unix.EINTR {
			l.ledger.strike(r.ID)
			return errno == 0
		}
	}
}
