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

// children starts this package's processes and takes their ends.
type children struct {
	mu      sync.Mutex // over all below, and over "start, then note": no end is taken before its process is known
	adopted bool       // the end of every child of this process is taken here
	reaping bool
	ends    map[int]chan unix.WaitStatus
}

// start starts a process of this binary. What it returns gets its end, once.
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
	go func() { ended <- waitFor(pid) }() // ends with the process
	return pid, ended, nil
}

// startBeside starts a process of this binary that holds a listener beside this one. Its arguments are the name, the number of
// its socket, and args; its descriptors are the socket, after it more, and no others, so that it keeps nothing that somebody
// waits for the end of: no pipe, and no directory. The listener comes through the socket. The other end is the caller's, and
// what it returns as end gets the process's end, once.
func (c *children) startBeside(name string, args []string, more []uintptr, sys *syscall.SysProcAttr, l *listener) (socket, pid int, end <-chan unix.WaitStatus, err error) {
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
			Dir: "/", Env: os.Environ(), Files: alone(append([]uintptr{n, n, n, uintptr(fds[1])}, more...)), Sys: sys,
		})
	}
	if err == nil {
		err = report(fds[0], stepListening, 0, l.fd) // else it would wait for ever
	}
	if err != nil {
		_ = unix.Close(fds[0]) // by which it ends
		return -1, 0, nil, err
	}
	return fds[0], pid, end, nil
}

// adopt makes this process the parent of all that programs leave behind, and takes the end of every child from now on. Only
// of its descendants may a process read the memory where Yama is set so (ptrace_scope 1).
func (c *children) adopt() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of orphans: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adopted, c.ends = true, map[int]chan unix.WaitStatus{}
	return nil
}

// reap takes the ends of children as long as there are some. It is started by start, and ends when none is left.
func (c *children) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		c.mu.Lock()
		if err != nil { // ECHILD: none was left then. Since then start may have brought one, and left it to this.
			if pid, err = unix.Wait4(-1, &ws, unix.WNOHANG, nil); err != nil {
				c.reaping = false
				c.mu.Unlock()
				return
			}
		}
		ended := c.ends[pid] // pid 0: it runs
		delete(c.ends, pid)
		c.mu.Unlock()
		if ended != nil {
			ended <- ws
		}
	}
}

func waitFor(pid int) (ws unix.WaitStatus) {
	for {
		if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			return ws
		}
	}
}
