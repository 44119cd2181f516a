//go:build amd64 || arm64

package run

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// callerCheckInterval is how often it is checked whether anyone still waits for the answer to a call, if nothing else
// shows that: the thread was killed while its process lives on, or was interrupted and does other things. What is at
// stake is a goroutine and, for an open, that the port counts as open. It costs 10 µs a second.
const callerCheckInterval = time.Second

// await answers a call when ready returns true: it calls do with 0. If the program no longer waits, it calls do with
// EINTR, and answering has no effect then. ready is called again whenever the port has changed, after the time that it
// has left in p.wait.recheckAfter, and when p.wait.recheckOn is closed. The caller of await holds port.mu; ready is
// called under it; do is called under it only if ready is true at once.
//
// A signal to the program ends the call, or makes the kernel restart it (SA_RESTART), which is a new call.
//
// The goroutine that waits is started here, and ends with the call or the port.
func (p *port) await(c *call, ready func() bool, do func(unix.Errno)) {
	if p.wait.recheckAfter, p.wait.recheckOn = 0, nil; ready() {
		do(0)
		return
	}
	p.wait.waiters++
	wake, after, on, hangups := p.wait.wake, p.wait.recheckAfter, p.wait.recheckOn, p.hangups
	gone := c.registerWait()
	go func() {
		defer c.unregisterWait(gone)
		errno := unix.Errno(0)
		check := time.NewTicker(callerCheckInterval)
		defer check.Stop()
		for done := false; !done; {
			timer := time.NewTimer(recheckDelay(after))
			select {
			case <-wake:
			case <-timer.C:
			case <-on:
			case <-gone:
				errno, done = unix.EINTR, true
			case <-check.C:
				if !c.valid() {
					errno, done = unix.EINTR, true
				}
			}
			timer.Stop()
			p.mu.Lock()
			p.wait.recheckAfter, p.wait.recheckOn = 0, nil
			switch {
			case done:
			case p.hangups != hangups: // the call's descriptor is not the port's any more
				errno, done = unix.EIO, true
			default:
				done = ready()
			}
			wake, after, on = p.wait.wake, p.wait.recheckAfter, p.wait.recheckOn
			if done {
				p.wait.waiters--
			}
			p.mu.Unlock()
		}
		if errno == 0 && !c.valid() { // nothing must be done for a program that is gone
			errno = unix.EINTR
		}
		do(errno)
	}()
}

// awaitThen calls then when ready returns true; both are called with port.mu held, as awaitThen is. If the call had to
// wait, then is not called if the call is gone, or the port was closed in the meantime. Unlike in the kernel, a call
// that waits here does not keep its file open: its program may be dead, or another thread may have closed the
// descriptor.
func (p *port) awaitThen(c *call, ready func() bool, then func()) {
	closes, due := p.opens.closes, false
	p.await(c, func() bool {
		switch {
		case p.ended:
			return true
		case !ready():
			return false
		}
		if due = p.opens.closes == closes; due && c.valid() {
			then()
		}
		return true
	}, func(errno unix.Errno) {
		switch {
		case due:
		case errno != 0:
			c.fail(errno)
		default:
			c.fail(unix.EIO) // Close was called, or the last close was noticed
		}
	})
}

// recheckDelay converts recheckAfter for a timer; 0 means hardly ever.
func recheckDelay(after time.Duration) time.Duration {
	if after <= 0 {
		return time.Hour
	}
	return after
}

// valid reports whether the program still waits for the answer.
func (c *call) valid() bool { return c.l.valid(c.n.ID) }

// procStatus is the text of /proc/PID/status, or of fdinfo.
type procStatus []byte

func readProcStatus(tid uint32) procStatus {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	return text
}

func (s procStatus) number(name string, base int) uint64 {
	for line := range bytes.Lines(s) {
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, _ := strconv.ParseUint(string(bytes.TrimSpace(value)), base, 64)
			return n
		}
	}
	return 0
}

// hasSysAdmin reports whether a program has CAP_SYS_ADMIN, and so may open a tty despite TIOCEXCL.
func hasSysAdmin(tid uint32) bool {
	return readProcStatus(tid).number("CapEff:", 16)&(1<<unix.CAP_SYS_ADMIN) != 0
}

// acquiresTerminal reports whether a tty that this thread opens becomes its controlling terminal: its process leads a
// session that has none.
func acquiresTerminal(tid uint32) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
	_, after, _ := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(" "))
	fields := bytes.Fields(after) // state, parent, group, session, terminal: proc_pid_stat(5)
	return len(fields) > 4 && string(fields[3]) == strconv.Itoa(int(readProcStatus(tid).number("Tgid:", 10))) && string(fields[4]) == "0"
}
