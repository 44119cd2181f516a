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

// The injector is a process that makes the ADDFD requests (addfd_linux.go), so that neither a stop nor the end of this
// process tears one: the program's open would return 0, and it would read and write its standard input instead of the
// port. Like the standby, the injector has a duplicate of the listener. It is in a session of its own, so that what
// stops the program's process group, such as ^Z, does not stop it. It ends with this process.
//
// It closes its copy of the descriptor before it replies: no copy remains that would keep the port open.

// injector is this process's handle of an injector.
type injector struct {
	mu     sync.Mutex // guards everything below; held from a request to its reply
	socket int        // -1: there is no injector (any more)
	pid    int
	exited <-chan unix.WaitStatus // receives its exit status, once
}

// injectorTimeout is how long to wait for a reply before checking whether the injector makes the request at all.
const injectorTimeout = 2 * time.Second

// A request through the socket is the call's id and the flags of the descriptor, which comes with it; a reply is an
// errno.
const requestSize, replySize = 12, 4

// startInjector starts an injector for a listener. It must not be used before awaitReady has returned.
func (h *Host) startInjector(l *listener) error {
	socket, pid, end, err := h.children.startHelper(injectorName, nil, nil, &syscall.SysProcAttr{Setsid: true}, l)
	if err != nil {
		return fmt.Errorf("start the injector: %w", err)
	}
	l.injector.mu.Lock()
	defer l.injector.mu.Unlock()
	l.injector.socket, l.injector.pid, l.injector.exited = socket, pid, end
	return nil
}

// awaitReady waits until the injector is ready.
func (i *injector) awaitReady() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if at, _, _, ok := receiveStep(i.socket); !ok || at != stepListening {
		return errors.New("the injector has ended at its start (by a signal?)")
	}
	patience := unix.NsecToTimeval(int64(injectorTimeout))
	if err := unix.SetsockoptTimeval(i.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return fmt.Errorf("setsockopt: %w", err)
	}
	return nil
}

// stop ends the injector, which must not be making a request; i.mu is held.
func (i *injector) stop() {
	if i.socket < 0 {
		return
	}
	_ = unix.Close(i.socket)
	i.socket = -1
	select {
	case <-i.exited: // its pid may be another process's
	default:
		_ = unix.Kill(i.pid, unix.SIGKILL) // it may be stopped and not notice the closed socket
	}
}

// close ends the injector, after the request in progress.
func (i *injector) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stop()
}

// request asks the injector to add a descriptor; i.mu is held. It returns false if there is no injector.
func (i *injector) request(a addfd) bool {
	if i.socket < 0 {
		return false
	}
	var word [requestSize]byte
	binary.NativeEndian.PutUint64(word[:], a.ID)
	binary.NativeEndian.PutUint32(word[8:], a.NewFlags)
	if err := sendMessage(i.socket, word[:], int(a.FD)); err != nil {
		i.stop()
		return false
	}
	return true
}

// reply waits for the injector's reply; i.mu is held. The error is EAGAIN if there is none within injectorTimeout,
// another one if the injector has ended.
func (i *injector) reply() (errno unix.Errno, err error) {
	var word [replySize]byte
	for {
		n, err := unix.Read(i.socket, word[:])
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

// addFD installs one descriptor: by the injector, or in this process if that is late or gone. The kernel accepts only
// one of two requests for a call: the other one fails with EINPROGRESS until the program has taken its descriptor, then
// with ENOENT.
func (l *listener) addFD(a addfd) unix.Errno {
	i := l.injector
	i.mu.Lock()
	defer i.mu.Unlock()
	for asked := i.request(a); asked; {
		errno, err := i.reply()
		if err == nil && errno != unix.EINVAL {
			return errno
		}
		errno = l.addFDHere(a) // after EINVAL: before Linux 5.14 it takes two requests, and the end of this process tears neither
		if err == unix.EAGAIN && errno == unix.EINPROGRESS {
			continue // the injector has made the request, but the program has not run yet
		}
		i.stop() // not earlier: this would tear the request
		return errno
	}
	return l.addFDHere(a)
}

// injectorMain is the main function of the injector process.
func injectorMain(args []string) {
	runtime.LockOSThread()
	signal.Ignore(append(forwarded, syscall.SIGPIPE)...) // a service manager signals all processes of a service
	socket, err := strconv.Atoi(args[0])
	if err == nil {
		err = blockSignals()
	}
	if err != nil {
		os.Exit(exitHelper)
	}
	unix.CloseOnExec(socket)
	_, _, fd, ok := receiveStep(socket)
	if !ok || fd < 0 {
		os.Exit(exitHelper)
	}
	l := newListener(fd)
	_ = sendStep(socket, stepListening, 0, -1)
	for {
		var word [requestSize]byte
		fd, ok := receiveMessage(socket, word[:])
		if !ok {
			os.Exit(0)
		}
		errno := unix.EINVAL // without a descriptor: the request must be made elsewhere

		if fd >= 0 {
			_, errno = l.ioctlAddFD(&addfd{
				ID: binary.NativeEndian.Uint64(word[:]), Flags: unix.SECCOMP_ADDFD_FLAG_SEND,
				FD: uint32(fd), NewFlags: binary.NativeEndian.Uint32(word[8:]),
			})
			_ = unix.Close(fd)
		}
		if sendMessage(socket, binary.NativeEndian.AppendUint32(nil, uint32(errno)), -1) != nil {
			os.Exit(0)
		}
	}
}
