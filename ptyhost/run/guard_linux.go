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

// A filter whose listener is gone makes every trapped call fail (ENOSYS), on other ttys and files of the program too. So a
// second process holds the listener: it does nothing until this one is gone, however that happened, and then lets every
// call go on, until no program is left, but what leads to the port's paths. The port is hung up by then, as an adapter that was pulled out.
//
// It is in the program's process group, and so tells another thing: whether a signal was sent to the group, as a
// terminal does it, or to this process alone.

// guardian is this process's end of a guard.
type guardian struct {
	pid    int
	socket int // closed: this process is gone
	heard  heard
	done   chan struct{} // closed when nothing is read from the socket any more
}

// startGuard starts a guard for a listener, which from then on keeps its ledger.
func (h *Host) startGuard(l *listener) (*guardian, error) {
	memory, err := unix.MemfdCreate("telnetcpc calls", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	defer unix.Close(memory)
	books, err := mapBooks(memory)
	if err != nil {
		return nil, err
	}
	l.share(books)
	h.addGuard(l.held)
	hungUp := devpath.HungUp()
	if hungUp >= 0 {
		defer unix.Close(hungUp)
	}
	args := append([]string{strconv.Itoa(os.Getpid())}, h.words()...)
	socket, pid, _, err := h.children.startBeside(guardName, args, []uintptr{uintptr(memory), uintptr(hungUp)}, nil, l)
	if err != nil {
		return nil, fmt.Errorf("start a guard: %w", err)
	}
	g := &guardian{pid: pid, socket: socket, done: make(chan struct{})}
	g.heard.init()
	if at, _, _, ok := hear(g.socket); !ok || at != stepListening {
		// Before it says that it listens to signals too, one of them can end it.
		_ = unix.Close(g.socket)
		return nil, errors.New("the guard has ended at its start (by a signal?)")
	}
	go g.listen()
	return g, nil
}

// listen takes what the guard tells of signals. It is started by startGuard, and ends with the guard or by release.
func (g *guardian) listen() {
	defer close(g.done)
	for {
		number, _, _, ok := hear(g.socket)
		if !ok {
			return
		}
		g.heard.add(syscall.Signal(number))
	}
}

// release leaves what is left to the guard.
func (g *guardian) release() {
	_ = report(g.socket, stepReleased, 0, -1)
	_ = unix.Shutdown(g.socket, unix.SHUT_RDWR) // a close alone does not end a read
	<-g.done
	_ = unix.Close(g.socket)
}

// guard is the guard's main function.
func guard(args []string) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	signal.Ignore(syscall.SIGPIPE)
	socket, err := strconv.Atoi(args[0])
	parent, err2 := strconv.Atoi(args[1])
	if err != nil || err2 != nil {
		os.Exit(exitStage)
	}
	_, _, fd, ok := hear(socket)
	if !ok || fd < 0 {
		os.Exit(exitStage)
	}
	_ = report(socket, stepListening, 0, -1)
	go func() {
		for s := range signals {
			_ = report(socket, step(s.(syscall.Signal)), 0, -1)
		}
	}()
	if !released(socket, parent) {
		// It dies. A call that went on before its descriptors are closed would find the port still there.
		for end := time.Now().Add(hangupPatience); os.Getppid() == parent && !(stuck(parent) && time.Now().After(end)); {
			time.Sleep(time.Millisecond)
		}
		awaitHangup(socket + 2)
	}
	l := newListener(fd)
	books, err := mapBooks(socket + 1)
	after := newAftermath(l, args[2:], books)
	if err == nil {
		for n := range books.open { // received by the one that is gone
			after.take(n)
		}
	}
	for {
		n, err := l.receive(noStop)
		if errors.Is(err, errOver) {
			os.Exit(0)
		}
		if err != nil {
			os.Exit(exitStage)
		}
		after.answer(n)
	}
}

// lookAtParent is how often the guard looks whether the other process is stuck in its end.
const lookAtParent = time.Second

// released waits until the other process leaves what is left to the guard: true; or ends without a word.
func released(socket, parent int) bool {
	word := []unix.PollFd{{Fd: int32(socket), Events: unix.POLLIN}}
	for {
		switch n, err := unix.Poll(word, int(lookAtParent/time.Millisecond)); {
		case n > 0:
			at, _, _, ok := hear(socket)
			return ok && at == stepReleased
		case err != nil && err != unix.EINTR, err == nil && stuck(parent):
			return false
		}
	}
}

// stuck reports whether a process was killed, and is not gone because a thread of it waits for the server of a file system
// that does not answer (FUSE): until then it keeps all descriptors. Its first thread is gone, which Go never ends before, or
// is that one, with a SIGKILL that it does not take.
func stuck(pid int) bool {
	s := statusOf(uint32(pid))
	return bytes.Contains(s, []byte("\nState:\tZ")) || s.number("SigPnd:", 16)&(1<<(unix.SIGKILL-1)) != 0
}

// hangupPatience is how long the watcher process may take to hang the port up, and the other process to end.
const hangupPatience = time.Second

// awaitHangup waits until the watcher process has hung the port up, of whose master it has a duplicate: then the pipe ends.
// Where there was no watcher the descriptor is closed, and the port is hung up by now.
func awaitHangup(pipe int) {
	p := []unix.PollFd{{Fd: int32(pipe), Events: unix.POLLIN}}
	for end := time.Now().Add(hangupPatience); time.Now().Before(end); {
		if _, err := unix.Poll(p, int(hangupPatience/time.Millisecond)); err != unix.EINTR {
			return
		}
	}
}

// books are what an agent and its guard share: the calls that were received and not answered. Nobody can receive them again.
type books struct {
	room   [64]uint64 // where the kernel writes what is received; first in it is the id
	ledger ledger
	held   held
}

// ledger has the ids of calls; 0: free. It has room for as many as programs are likely to have waiting at once, of which
// only what is used takes memory.
type ledger [32 << 10]atomic.Uint64

// mapBooks maps books from a file in memory, for the life of the process.
func mapBooks(fd int) (*books, error) {
	const size = int(unsafe.Sizeof(books{}))
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	memory, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return (*books)(unsafe.Pointer(&memory[0])), nil
}

// open yields the calls, some of which may have been answered. Of those that nothing is known of it has the id alone.
func (b *books) open(yield func(notification) bool) {
	// What was received last may not be in the ledger yet.
	last := *(*notification)(unsafe.Pointer(&b.room[0]))
	if last.ID != 0 && !yield(last) {
		return
	}
	for i := range b.ledger {
		if id := b.ledger[i].Load(); id != 0 && id != last.ID && !yield(notification{ID: id}) {
			return
		}
	}
}

// share has the kernel and this process write what is received where a guard finds it.
func (l *listener) share(b *books) {
	l.ledger, l.held = &b.ledger, &b.held
	if len(l.room) <= len(b.room) {
		l.room = b.room[:len(l.room)]
	}
}

// enter notes a call; strike takes it out.
func (l *ledger) enter(id uint64) { l.swap(0, id) }

func (l *ledger) strike(id uint64) { l.swap(id, 0) }

func (l *ledger) swap(from, to uint64) {
	if l == nil {
		return
	}
	for i := range l {
		if l[i].CompareAndSwap(from, to) {
			return
		}
	}
}
