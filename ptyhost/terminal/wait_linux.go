package terminal

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How WaitRead and WaitWrite wait on Linux, at the cost of two threads of a C program that does the same. Each line here that
// seems odd was measured:
//
// The master is not in Go's netpoller, which would wake the reader at each read of the application: it asks for EPOLLOUT too.
// In the netpoller are two epoll sets of the terminal's own, one for each direction, that ask only for what is wanted. A set in
// a set needs no thread.
//
// System calls are made without telling the scheduler (RawSyscall): telling it wakes the runtime's sleeping monitor
// thread if the process was idle, and a round trip costs 1.4 times as long. That is correct only because no descriptor
// here ever blocks: a call that blocks would hold the processor.

// waiter waits for the master. read has one caller, write has one caller; the rest may be called from any goroutine.
type waiter struct {
	master   int
	tryRead  func() bool // done: something was found
	tryWrite func() bool // done: all is written, or it need not be
	in, out  *os.File    // epoll sets
	inRaw    syscall.RawConn
	outRaw   syscall.RawConn
	outFD    int
	armed    bool // out asks for room; only write's goroutine

	readStep, writeStep func(uintptr) bool // made once: a closure for each call would be an allocation
}

// newWaiter returns a waiter for master, which the caller keeps and closes after it.
func newWaiter(master int, tryRead, tryWrite func() bool) (*waiter, error) {
	w := &waiter{master: master, tryRead: tryRead, tryWrite: tryWrite}
	w.readStep = func(uintptr) bool { return w.tryRead() }
	w.writeStep = w.writeOrArm
	var err error
	if w.in, w.inRaw, _, err = newSet(master, unix.EPOLLIN); err != nil {
		return nil, err
	}
	if w.out, w.outRaw, w.outFD, err = newSet(master, 0); err != nil {
		_ = w.in.Close()
		return nil, err
	}
	return w, nil
}

// newSet makes an epoll set that asks for events of fd, and adds it to the netpoller.
func newSet(fd int, events uint32) (*os.File, syscall.RawConn, int, error) {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, nil, -1, fmt.Errorf("epoll: %w", err)
	}
	err = unix.SetNonblock(set, true) // otherwise NewFile would not add it to the netpoller
	file := os.NewFile(uintptr(set), "epoll set of a pty")
	var raw syscall.RawConn
	if err == nil {
		raw, err = file.SyscallConn()
	}
	if err == nil {
		err = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events})
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, -1, fmt.Errorf("epoll: %w", err)
	}
	return file, raw, set, nil
}

// read calls tryRead until it is done. It fails with os.ErrDeadlineExceeded when poked.
func (w *waiter) read() error {
	// Entering RawConn.Read discards what the netpoller has seen, so tryRead must ask the kernel itself before the goroutine
	// parks: its read of the master does.
	return w.inRaw.Read(w.readStep)
}

// write calls tryWrite until it is done. It fails with os.ErrDeadlineExceeded when poked.
func (w *waiter) write() error {
	if w.tryWrite() { // usually there is room, and the netpoller need not be entered
		return nil
	}
	err := w.outRaw.Read(w.writeStep)
	if w.armed {
		// As long as out asks for room, each read of the application wakes this process, even if nobody waits.
		w.armed = false
		w.ask(0)
	}
	return err
}

// writeOrArm is write's step. The first one asks for room, then calls tryWrite once more, because nothing would announce room that
// has come since the call before: the kernel announces room that is there already only if the master is not in the set's ready
// list, and it may still be in it from the last time (ep_modify in fs/eventpoll.c). Later room is always announced, and the
// netpoller keeps it while RawConn.Read runs.
func (w *waiter) writeOrArm(uintptr) (done bool) {
	if !w.armed {
		w.armed = true
		w.ask(unix.EPOLLOUT)
	}
	return w.tryWrite()
}

// ask changes what out asks for.
func (w *waiter) ask(events uint32) {
	e := unix.EpollEvent{Events: events}
	_, _, _ = syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(w.outFD), unix.EPOLL_CTL_MOD, uintptr(w.master), uintptr(unsafe.Pointer(&e)), 0, 0)
}

// pokeReader ends the wait of read, now or when it begins; pokeWriter that of write.
func (w *waiter) pokeReader() { _ = w.in.SetReadDeadline(time.Unix(1, 0)) }
func (w *waiter) pokeWriter() { _ = w.out.SetReadDeadline(time.Unix(1, 0)) }

func (w *waiter) unpokeReader() { _ = w.in.SetReadDeadline(time.Time{}) }
func (w *waiter) unpokeWriter() { _ = w.out.SetReadDeadline(time.Time{}) }

// close ends every wait, and returns when neither tryRead nor tryWrite runs in one.
func (w *waiter) close() {
	_ = w.in.Close()
	_ = w.out.Close()
}

// readMaster returns how many bytes it has read; 0: there are none. gone: nobody has the slave open either (EIO).
func readMaster(fd int, p []byte) (n int, gone bool) { return call(unix.SYS_READ, fd, p) }

// writeMaster returns how many bytes it has written; 0: there is no room.
func writeMaster(fd int, p []byte) int {
	n, _ := call(unix.SYS_WRITE, fd, p)
	return n
}

func call(number uintptr, fd int, p []byte) (n int, eio bool) {
	for len(p) > 0 {
		n, _, errno := syscall.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), false
		case syscall.EINTR:
		default:
			return 0, errno == syscall.EIO
		}
	}
	return 0, false
}

// readTermios reads the termios of either end, for the hot path.
func readTermios(fd int, t *unix.Termios) bool {
	_, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.TCGETS2, uintptr(unsafe.Pointer(t)))
	return errno == 0
}
