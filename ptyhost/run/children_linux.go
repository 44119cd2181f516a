//go:build amd64 || arm64

package run

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// children starts this package's processes and reaps them.
type children struct {
	mu      sync.Mutex // guards everything below; held over fork and registration, so that no child is reaped unregistered
	adopted bool       // every child of this process is reaped here, orphans too
	reaping bool
	ends    map[int]chan unix.WaitStatus
}

// start starts a process of this binary. end receives its exit status, once.
func (c *children) start(argv []string, attr *syscall.ProcAttr) (pid int, end <-chan unix.WaitStatus, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pid, err = syscall.ForkExec("/proc/self/exe", argv, attr)
	if err != nil {
		return 0, nil, err
	}
	ended := make(chan unix.WaitStatus, 1)
	if c.adopted {
		if !c.reaping {
			c.reaping = true
			go c.reap()
		}
		c.ends[pid] = ended
		return pid, ended, nil
	}
	go func() { ended <- waitPID(pid) }() // ends with the process
	return pid, ended, nil
}

// startHelper starts a process of this binary that gets a duplicate of a listener. Its arguments are the name, the
// number of its socket, and args. Its descriptors are the null device, the socket, then more, and no others; its
// directory is the root. So it keeps no pipe open whose end somebody waits for, and no file system busy. It receives
// the listener through the socket. The other end is returned, and owned by the caller; end receives the exit status,
// once.
func (c *children) startHelper(name string, args []string, more []uintptr, sys *syscall.SysProcAttr, l *listener) (socket, pid int, end <-chan unix.WaitStatus, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, nil, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(fds[1])
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err == nil {
		defer null.Close()
		n := null.Fd()
		const at = 3
		pid, end, err = c.start(append([]string{name, strconv.Itoa(at)}, args...), &syscall.ProcAttr{
			Dir: "/", Env: os.Environ(), Files: onlyFDs(append([]uintptr{n, n, n, uintptr(fds[1])}, more...)), Sys: sys,
		})
	}
	if err == nil {
		err = sendStep(fds[0], stepListening, 0, l.fd) // it would wait forever without it
	}
	if err != nil {
		_ = unix.Close(fds[0]) // it ends by this
		return -1, 0, nil, err
	}
	return fds[0], pid, end, nil
}

// adoptOrphans makes this process the parent of all orphans of its programs, and reaps every child from now on. With
// Yama's ptrace_scope 1, a process may read the memory of its descendants only.
func (c *children) adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of orphans: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adopted, c.ends = true, map[int]chan unix.WaitStatus{}
	return nil
}

// reap reaps children until none is left. start starts it.
func (c *children) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		c.mu.Lock()
		if err != nil { // ECHILD: there was no child. Since then start may have added one and relied on this goroutine.
			if pid, err = unix.Wait4(-1, &ws, unix.WNOHANG, nil); err != nil {
				c.reaping = false
				c.mu.Unlock()
				return
			}
		}
		ended := c.ends[pid] // pid is 0 if children are running and none has exited
		delete(c.ends, pid)
		c.mu.Unlock()
		if ended != nil {
			ended <- ws
		}
	}
}

func waitPID(pid int) (ws unix.WaitStatus) {
	for {
		if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			return ws
		}
	}
}
