//go:build amd64 || arm64

package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The giver is a process that makes the requests for descriptors (inject_linux.go), so that a stop or the end of this process
// does not tear one: the program's open would return 0, and the program would read and write its standard input in the
// port's place. The giver holds the listener as the guard does, but it is in a session of its own: what stops the program's
// process group, as ^Z does, does not stop it. It does nothing else, and ends with this process.
//
// It closes its copy of a descriptor before it answers, so an inject leaves no copy that would keep the port open.

// giver is this process's end of a giver.
type giver struct {
	mu     sync.Mutex // over all below, from a request to its answer
	socket int        // -1: there is none, or none any more
	pid    int
	end    <-chan unix.WaitStatus // gets its end, once
}

// giverPatience is how long a giver may take before it is looked at whether it makes the request.
const giverPatience = 2 * time.Second

// A request in the socket is the call's id and the flags of the descriptor, which comes with it; an answer is an errno.
const requestSize, answerSize = 12, 4

// startGiver starts a giver for a listener, which is of use after greet.
func (h *Host) startGiver(l *listener) error {
	socket, pid, end, err := h.children.startBeside(giverName, nil, nil, &syscall.SysProcAttr{Setsid: true}, l)
	if err != nil {
		return fmt.Errorf("start a giver: %w", err)
	}
	l.giver.mu.Lock()
	defer l.giver.mu.Unlock()
	l.giver.socket, l.giver.pid, l.giver.end = socket, pid, end
	return nil
}

// greet waits until the giver is ready.
func (g *giver) greet() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at, _, _, ok := hear(g.socket); !ok || at != stepListening {
		return errors.New("the giver has ended at its start (by a signal?)")
	}
	patience := unix.NsecToTimeval(int64(giverPatience))
	if err := unix.SetsockoptTimeval(g.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}
	return nil
}

// leave ends the giver, which makes no request now; the lock is held.
func (g *giver) leave() {
	if g.socket < 0 {
		return
	}
	_ = unix.Close(g.socket)
	g.socket = -1
	select {
	case <-g.end: // its number may be another's
	default:
		_ = unix.Kill(g.pid, unix.SIGKILL) // it may be stopped
	}
}

// close ends the giver when a request under way has its answer.
func (g *giver) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leave()
}

// ask asks the giver for a descriptor; the lock is held. It is false where it cannot be asked.
func (g *giver) ask(a addition) bool {
	if g.socket < 0 {
		return false
	}
	var word [requestSize]byte
	binary.NativeEndian.PutUint64(word[:], a.ID)
	binary.NativeEndian.PutUint32(word[8:], a.NewFlags)
	if err := tell(g.socket, word[:], int(a.FD)); err != nil {
		g.leave()
		return false
	}
	return true
}

// answer waits for the giver's answer; the lock is held. The error is EAGAIN where there is none yet, another where the
// giver has ended.
func (g *giver) answer() (errno unix.Errno, err error) {
	var word [answerSize]byte
	for {
		n, err := unix.Read(g.socket, word[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n != len(word):
			return 0, unix.EPIPE
		}
		return unix.Errno(binary.NativeEndian.Uint32(word[:])), nil
	}
}

// give makes the request for one descriptor: by the giver, and where that is late or gone, here. The kernel takes only one of
// two requests for a call: the other gets EINPROGRESS as long as the program has not taken its descriptor, then ENOENT.
func (l *listener) give(a addition) unix.Errno {
	g := l.giver
	g.mu.Lock()
	defer g.mu.Unlock()
	for asked := g.ask(a); asked; {
		errno, err := g.answer()
		if err == nil && errno != unix.EINVAL {
			return errno
		}
		errno = l.giveHere(a) // EINVAL: it takes two requests before Linux 5.14, of which the end of this process tears neither
		if err == unix.EAGAIN && errno == unix.EINPROGRESS {
			continue // the giver does it, but the program has not run yet
		}
		g.leave() // not earlier: its end would tear the request
		return errno
	}
	return l.giveHere(a)
}

// givesFor is the giver's main function.
func givesFor(args []string) {
	runtime.LockOSThread()
	signal.Ignore(append(forwarded, syscall.SIGPIPE)...) // a service's end is told to all its processes
	socket, err := strconv.Atoi(args[0])
	if err == nil {
		err = blockSignals()
	}
	if err != nil {
		os.Exit(exitStage)
	}
	unix.CloseOnExec(socket)
	_, _, fd, ok := hear(socket)
	if !ok || fd < 0 {
		os.Exit(exitStage)
	}
	l := newListener(fd)
	_ = report(socket, stepListening, 0, -1)
	for {
		var word [requestSize]byte
		fd, ok := take(socket, word[:])
		if !ok {
			os.Exit(0)
		}
		errno := unix.EINVAL // it must be done without this process
		if fd >= 0 {
			_, errno = l.add(&addition{
				ID: binary.NativeEndian.Uint64(word[:]), Flags: unix.SECCOMP_ADDFD_FLAG_SEND,
				FD: uint32(fd), NewFlags: binary.NativeEndian.Uint32(word[8:]),
			})
			_ = unix.Close(fd)
		}
		if tell(socket, binary.NativeEndian.AppendUint32(nil, uint32(errno)), -1) != nil {
			os.Exit(0)
		}
	}
}
