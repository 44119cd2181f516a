//go:build linux || darwin || freebsd

package devpath

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A port's path must never lead to another program's terminal. A killed process cannot remove its links, and the next
// terminal gets the number of its pty. So a second process, the watcher, has the other end of a socket: it waits until
// the agent has ended, for whatever reason, and then removes the agent's links. It has a duplicate of the master of
// each pty: the kernel does not reuse a number while either side of its pty is open, so there is no gap between the end
// of the agent and the end of the link. First of all the watcher hangs up the programs that have the port open. The
// number stays in use for a while after the link is gone, because a program may be in an open() that has already read
// the link.
//
// A SIGKILL for both at once defeats this: for a whole cgroup (systemd after TimeoutStopSec, the out-of-memory killer
// if memory.oom.group is set), or by pkill -9. Then the next start cleans up; see Claim.

// watcherName is the watcher's argv[0]: what ps shows, and how Main recognises it. watcherComm is its comm on Linux, of
// 15 characters at most; by default a process started by /proc/self/exe has "exe".
const (
	watcherName   = "telnetcpc: watcher" // NAME PARENT
	watcherComm   = "telnetcpc-watch"
	watcherWire   = 3 // descriptor of its socket
	watcherHungUp = 4 // write end of the pipe that returns end of file when all ptys are hung up
	firstPause    = time.Millisecond
	longestPause  = 100 * time.Millisecond
	// numberStays is how long the number of a pty stays in use when its link is gone: longer than an open() takes from
	// reading the link to opening the device, even on a busy machine.
	numberStays = 3 * time.Second
)

// Main must be the first call in the main function of a program whose links are to be watched. In the process that such
// a program starts as its watcher, from its own binary, Main runs the watcher and does not return. Without a call of
// Main there is no watcher, because the binary could not run as one.
func Main() {
	if len(os.Args) != 2 || os.Args[0] != watcherName {
		watching.calledMain = true
		return
	}
	// systemd and terminals send these to all processes of a group.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGALRM, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	unix.CloseOnExec(watcherWire)
	unix.CloseOnExec(watcherHungUp)
	closeInherited()
	_ = os.WriteFile("/proc/self/comm", []byte(watcherComm), 0)
	parent, err := strconv.Atoi(os.Args[1])
	if err != nil {
		syscall.Exit(2)
	}
	watcher(parent)
	// Not os.Exit: there is nothing to clean up, and the race detector would take a second for it.
	syscall.Exit(0)
}

// closeInherited closes descriptors that the agent itself had inherited: one may be a pipe whose end some process waits
// for. They are the ones without FD_CLOEXEC; the runtime's own have it.
func closeInherited() {
	for _, fd := range descriptors() {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && fd > 2 && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}

// descriptors returns the numbers of all descriptors that may be open.
func descriptors() (all []int) {
	const most = 1 << 16 // limit if /proc does not list them
	if names, err := os.ReadDir("/proc/self/fd"); err == nil {
		for _, name := range names {
			if fd, err := strconv.Atoi(name.Name()); err == nil {
				all = append(all, fd)
			}
		}
		return all
	}
	var limit unix.Rlimit
	n := uint64(most)
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		n = min(n, uint64(limit.Cur))
	}
	for fd := range int(n) {
		all = append(all, fd)
	}
	return all
}

// watcher runs the watcher: it records the agent's links, and removes those that are left when the agent has ended.
func watcher(parent int) {
	links := map[uint64]link{}
	for {
		what, id, h, err := receive(watcherWire)
		if err != nil {
			break
		}
		last, ok := links[id]
		delete(links, id)
		if ok && last.master >= 0 {
			stays := -1
			if what == opMoved || what == opClosed {
				stays = hangUp(last.master)
			}
			if stays >= 0 {
				time.AfterFunc(numberStays, func() { _ = unix.Close(stays) })
			} else {
				_ = unix.Close(last.master)
			}
		}
		switch what {
		case opMade:
			links[id] = h
		case opClosed, opRetired:
			sendAnswer(watcherWire, id)
		}
	}
	if len(links) > 0 {
		sweepAll(links, parent)
	}
}

// sweepAll removes the links of an agent that has ended. It hangs up the ptys first, because a removal may block in its
// file system.
func sweepAll(links map[uint64]link, parent int) {
	numbers, all := false, true
	keeps := map[uint64]int{}
	for id, h := range links {
		if h.master < 0 {
			continue
		}
		if keeps[id] = hangUp(h.master); keeps[id] >= 0 {
			numbers = true
		} else {
			all = false
		}
	}
	if all {
		_ = unix.Close(watcherHungUp)
	}
	var sweeping sync.WaitGroup // in goroutines, as one may hang in its file system
	for id, h := range links {
		sweeping.Go(func() {
			h.sweep(parent)
			if h.master >= 0 && keeps[id] < 0 {
				_ = unix.Close(h.master)
			}
		})
	}
	sweeping.Wait()
	if !all {
		_ = unix.Close(watcherHungUp)
	}
	if numbers {
		time.Sleep(numberStays)
	}
}

// sweep removes the link of an agent that has ended, and its lock file, unless another agent has claimed the path. A
// process that has the lock may be such an agent, which may be killed before it replaces the old link, or another
// watcher: so sweep gives up only when the link is gone. A link to a pty is recognised by its text, because the number
// is not reused meanwhile. A link to any other device may have the same text as its successor: for those, sweep gives
// up after lockPatience.
func (h link) sweep(parent int) {
	began := time.Now()
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		dead := os.Getppid() != parent
		lock, err := tryLock(h.path)
		var taken lockedError
		switch {
		case err == nil:
			c := Claim{path: h.path, lock: lock, text: h.text}
			_ = c.Release()
			return
		case !errors.As(err, &taken):
			return
		case !dead: // it is exiting, and the kernel has not closed its descriptors yet
			wait = firstPause
		case !h.inPlace() || h.master < 0 && time.Since(began) > lockPatience:
			return
		}
		time.Sleep(wait)
	}
}

// inPlace reports whether there still is a link with this text at the path.
func (h link) inPlace() bool {
	text, err := os.Readlink(h.path)
	return err == nil && text == h.text
}
