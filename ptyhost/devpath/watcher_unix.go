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

// A port's path must never lead into somebody else's terminal. A process that is killed cannot remove its links, and the
// next terminal gets the number of its pty. So a second process holds the other end of a socket: it does nothing until this
// one is gone, however that happened, and then removes what is still ours. It has a duplicate of the master of each pty: the
// kernel gives a number to nobody else as long as either side of its pty is open, so that there is no moment between the end
// of the agent and the end of the link. Programs that have the port open are hung up by the watcher, before all else. The
// number stays busy for a while after the link is gone: a program may just then be in the open() that has read the link.
//
// What ends both at once ends this too: the SIGKILL of a whole cgroup (systemd after TimeoutStopSec, the out-of-memory killer
// where memory.oom.group is set), or pkill -9. Then the next start cleans up; see Claim.

// watcherName is the watcher's argv[0]: what ps shows, and how Main knows it. Linux shows at most 15 characters of the other
// name that a process has, which says "exe" where it was started by /proc/self/exe.
const (
	watcherName   = "telnetcpc: watcher" // NAME PARENT
	watcherComm   = "telnetcpc-watch"
	watcherWire   = 3 // its socket
	watcherHungUp = 4 // the pipe that ends when all ptys are hung up
	watcherAgain  = time.Millisecond
	watcherRest   = 100 * time.Millisecond
	// numberStays is how long the number of a pty stays busy when no link leads there any more: longer than any open() takes
	// from the link to the device, on a machine that has other things to do.
	numberStays = 3 * time.Second
)

// Main must come first in a program whose ports are to be watched: where this process is the watcher that such a program has
// started of its own binary, it does its work and does not return. Without a call of Main nothing is watched: a binary that
// does not call it cannot play the watcher.
func Main() {
	if len(os.Args) != 2 || os.Args[0] != watcherName {
		watching.able = true
		return
	}
	// systemd and terminals send these to everybody.
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
	// Not os.Exit: nothing is to be tidied up, and the race detector would take a second for it.
	syscall.Exit(0)
}

// closeInherited closes what the agent has itself inherited and not opened: a pipe whose end somebody waits for. It is known
// by having survived exec: the runtime's own descriptors would not.
func closeInherited() {
	for _, fd := range descriptors() {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && fd > 2 && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}

// descriptors are those that may be open.
func descriptors() (all []int) {
	const most = 1 << 16 // where nothing lists them
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

// watcher is the watcher's work: it keeps what it is told, and when the agent is gone removes what is left.
func watcher(parent int) {
	links := map[uint64]held{}
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
		case opHold:
			links[id] = h
		case opClosed, opLetGo:
			answer(watcherWire, id)
		}
	}
	if len(links) > 0 {
		sweepAll(links, parent)
	}
}

// sweepAll removes the links of an agent that is gone. Programs must see its end whatever becomes of them.
func sweepAll(links map[uint64]held, parent int) {
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
	var sweeping sync.WaitGroup // one that hangs, in a file system that does, holds up no other
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

// sweep removes the link of an agent that is gone, and the file of its lock, unless another agent has taken the path. Who has
// the lock then may be such an agent that is killed before it comes to the old link, or another watcher at its work: the link
// is given up only when somebody has removed it. One to a pty can be told by its text, for nobody else gets the number so
// long; for one to another device, whose name the next link may have too, lockPatience must do.
func (h held) sweep(parent int) {
	began := time.Now()
	for wait := watcherAgain; ; wait = min(2*wait, watcherRest) {
		dead := os.Getppid() != parent
		lock, err := tryLock(h.path)
		var taken heldError
		switch {
		case err == nil:
			c := Claim{path: h.path, lock: lock, text: h.text}
			_ = c.Release()
			return
		case !errors.As(err, &taken):
			return
		case !dead: // its descriptors are being closed
			wait = watcherAgain
		case !h.leads() || h.master < 0 && time.Since(began) > lockPatience:
			return
		}
		time.Sleep(wait)
	}
}

// leads reports whether the path still has the text of the link.
func (h held) leads() bool {
	text, err := os.Readlink(h.path)
	return err == nil && text == h.text
}
