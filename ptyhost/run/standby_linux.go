//go:build amd64 || arm64

package run

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
)

// If the last descriptor of a filter's listener is closed, every trapped call of every program under the filter fails
// with ENOSYS (seccomp_unotify(2)), on other ttys and files too. So a second process, the standby, has a duplicate of
// the listener. It does nothing until this process is gone, for whatever reason. Then it answers the calls until no
// program is left: it lets the kernel perform all of them, except those on the port's paths, which fail. The port is
// hung up by then, like a USB adapter that was pulled out.
//
// The standby is in the program's process group. So it also detects whether a signal was sent to the whole group, as a
// terminal does, or to this process alone.

// standby is this process's handle of a standby.
type standby struct {
	pid          int
	socket       int // the standby sees its end when this process is gone
	groupSignals groupSignals
	done         chan struct{} // closed when readSignals has returned
}

// startStandby starts a standby for a listener, and makes the listener record its pending calls in memory shared with
// it.
func (h *Host) startStandby(l *listener) (*standby, error) {
	memory, err := unix.MemfdCreate("telnetcpc calls", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	defer unix.Close(memory)
	shared, err := mapSharedCalls(memory)
	if err != nil {
		return nil, err
	}
	l.shareWith(shared)
	h.addShared(l.pathCalls)
	hungUp := devpath.HungUp()
	if hungUp >= 0 {
		defer unix.Close(hungUp)
	}
	args := append([]string{strconv.Itoa(os.Getpid())}, h.standbyNames()...)
	socket, pid, _, err := h.children.startHelper(standbyName, args, []uintptr{uintptr(memory), uintptr(hungUp)}, nil, l)
	if err != nil {
		return nil, fmt.Errorf("start the standby: %w", err)
	}
	s := &standby{pid: pid, socket: socket, done: make(chan struct{})}
	s.groupSignals.init()
	if at, _, _, ok := receiveStep(s.socket); !ok || at != stepListening {
		// Until it reports that it catches signals, one of them can end it.
		_ = unix.Close(s.socket)
		return nil, errors.New("the standby has ended at its start (by a signal?)")
	}
	go s.readSignals()
	return s, nil
}

// readSignals receives the signals that the standby reports. startStandby starts it; it ends with the standby or by
// release.
func (s *standby) readSignals() {
	defer close(s.done)
	for {
		number, _, _, ok := receiveStep(s.socket)
		if !ok {
			return
		}
		s.groupSignals.add(syscall.Signal(number))
	}
}

// release hands the remaining programs over to the standby.
func (s *standby) release() {
	_ = sendStep(s.socket, stepReleased, 0, -1)
	_ = unix.Shutdown(s.socket, unix.SHUT_RDWR) // a close alone does not end the read in readSignals
	<-s.done
	_ = unix.Close(s.socket)
}

// standbyMain is the main function of the standby process.
func standbyMain(args []string) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	signal.Ignore(syscall.SIGPIPE)
	socket, err := strconv.Atoi(args[0])
	parent, err2 := strconv.Atoi(args[1])
	if err != nil || err2 != nil {
		os.Exit(exitHelper)
	}
	_, _, fd, ok := receiveStep(socket)
	if !ok || fd < 0 {
		os.Exit(exitHelper)
	}
	_ = sendStep(socket, stepListening, 0, -1)
	go func() {
		for number := range signals {
			_ = sendStep(socket, step(number.(syscall.Signal)), 0, -1)
		}
	}()
	if !awaitRelease(socket, parent) {
		// It is dying. A call that continued before its descriptors are closed would still find the port.
		for end := time.Now().Add(hangupTimeout); os.Getppid() == parent && !(diedStuck(parent) && time.Now().After(end)); {
			time.Sleep(time.Millisecond)
		}
		awaitHangup(socket + 2)
	}
	l := newListener(fd)
	shared, err := mapSharedCalls(socket + 1)
	after := newTakeover(l, args[2:], shared)
	if err == nil {
		for n := range shared.pending { // received by the parent
			after.handlePending(n)
		}
	}
	for {
		n, err := l.receive(noStop)
		if errors.Is(err, errNoPrograms) {
			os.Exit(0)
		}
		if err != nil {
			os.Exit(exitHelper)
		}
		after.handle(n)
	}
}

// parentCheckInterval is how often the standby checks whether its parent is stuck while dying.
const parentCheckInterval = time.Second

// awaitRelease waits until the parent hands the programs over, and returns true; or until it is gone or dying.
func awaitRelease(socket, parent int) bool {
	word := []unix.PollFd{{Fd: int32(socket), Events: unix.POLLIN}}
	for {
		switch n, err := unix.Poll(word, int(parentCheckInterval/time.Millisecond)); {
		case n > 0:
			at, _, _, ok := receiveStep(socket)
			return ok && at == stepReleased
		case err != nil && err != unix.EINTR, err == nil && diedStuck(parent):
			return false
		}
	}
}

// diedStuck reports whether a process was killed but cannot exit, because one of its threads waits in the kernel for a
// file server that does not answer (FUSE); until it does, all of the process's descriptors stay open. Such a process is
// a zombie leader with live threads (a Go program's first thread never exits earlier), or its first thread has a
// SIGKILL pending.
func diedStuck(pid int) bool {
	s := readProcStatus(uint32(pid))
	return bytes.Contains(s, []byte("\nState:\tZ")) || s.number("SigPnd:", 16)&(1<<(unix.SIGKILL-1)) != 0
}

// hangupTimeout is how long the watcher process may take to hang the port up, and the parent to exit.
const hangupTimeout = time.Second

// awaitHangup waits until the watcher process (devpath) has hung the port up. The watcher has a duplicate of the pty's
// master and of the pipe's other end, so the pipe ends with it. Without a watcher the descriptor is closed, and the
// port is hung up.
func awaitHangup(pipe int) {
	p := []unix.PollFd{{Fd: int32(pipe), Events: unix.POLLIN}}
	for end := time.Now().Add(hangupTimeout); time.Now().Before(end); {
		if _, err := unix.Poll(p, int(hangupTimeout/time.Millisecond)); err != unix.EINTR {
			return
		}
	}
}

// sharedCalls is memory that this process and its standby share: the calls that were received and not answered. Nobody
// can receive them again.
type sharedCalls struct {
	received [64]uint64 // the kernel writes the struct seccomp_notif here; the id is its first member
	ids      idTable
	paths    pathCallTable
}

// idTable holds ids of calls; 0 is a free entry. It has room for all calls that programs are likely to have pending at
// once; only the pages in use take memory.
type idTable [32 << 10]atomic.Uint64

// mapSharedCalls maps a memfd, until the process ends.
func mapSharedCalls(fd int) (*sharedCalls, error) {
	const size = int(unsafe.Sizeof(sharedCalls{}))
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	memory, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return (*sharedCalls)(unsafe.Pointer(&memory[0])), nil
}

// pending yields the calls, including some that may have been answered. A call whose notification is unknown has only
// its ID.
func (b *sharedCalls) pending(yield func(notification) bool) {
	// The one received last may not be in the table yet.
	last := *(*notification)(unsafe.Pointer(&b.received[0]))
	if last.ID != 0 && !yield(last) {
		return
	}
	for i := range b.ids {
		if id := b.ids[i].Load(); id != 0 && id != last.ID && !yield(notification{ID: id}) {
			return
		}
	}
}

// shareWith makes the kernel and this process write what is received where a standby finds it.
func (l *listener) shareWith(b *sharedCalls) {
	l.ids, l.pathCalls = &b.ids, &b.paths
	if len(l.buf) <= len(b.received) {
		l.buf = b.received[:len(l.buf)]
	}
}

// add adds a call; remove removes it. On a nil table they do nothing.
func (l *idTable) add(id uint64) { l.swap(0, id) }

func (l *idTable) remove(id uint64) { l.swap(id, 0) }

func (l *idTable) swap(from, to uint64) {
	if l == nil {
		return
	}
	for i := range l {
		if l[i].CompareAndSwap(from, to) {
			return
		}
	}
}
