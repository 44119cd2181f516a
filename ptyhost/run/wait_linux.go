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

// lookAtCaller is how often a call that waits is looked at for whether somebody still waits for its answer, where nothing
// else tells: its program was killed while others live, or was interrupted and does other things. What it holds is a
// goroutine, and an open's place among those that wait: the port counts as open. It costs 10 us a second.
const lookAtCaller = time.Second

// later answers a call when ready is true: then it calls do with 0. The port's lock is held for ready, and by the caller of
// later; it is held for do only where ready is true at once. Where the program does not wait any more, do gets EINTR:
// answering then does nothing. ready is asked again whenever the port has changed, after the pause that it may have asked for
// by p.again, and when p.news is closed.
//
// A signal to the program ends the call or lets the kernel begin it again, as the program has asked for by SA_RESTART: that
// is a new call.
//
// The goroutine that waits is started here, and ends with the call, or with the port.
func (p *port) later(c *call, ready func() bool, do func(unix.Errno)) {
	if p.again, p.news = 0, nil; ready() {
		do(0)
		return
	}
	p.sleepers++
	wake, again, news, hangups := p.wake, p.again, p.news, p.hangups
	gone := c.waits()
	go func() {
		defer c.waitsNoMore(gone)
		errno := unix.Errno(0)
		look := time.NewTicker(lookAtCaller)
		defer look.Stop()
		for done := false; !done; {
			timer := time.NewTimer(pauseOf(again))
			select {
			case <-wake:
			case <-timer.C:
			case <-news:
			case <-gone:
				errno, done = unix.EINTR, true
			case <-look.C:
				if !c.valid() {
					errno, done = unix.EINTR, true
				}
			}
			timer.Stop()
			p.mu.Lock()
			p.again, p.news = 0, nil
			switch {
			case done:
			case p.hangups != hangups: // the descriptor of the call is of no port any more
				errno, done = unix.EIO, true
			default:
				done = ready()
			}
			wake, again, news = p.wake, p.again, p.news
			if done {
				p.sleepers--
			}
			p.mu.Unlock()
		}
		if errno == 0 && !c.valid() { // nothing is done for who is not there
			errno = unix.EINTR
		}
		do(errno)
	}()
}

// when calls then, under the lock, when ready is true. Of a call that waited then nothing is done if it does not wait any
// more, or if the port was closed meanwhile: a call that waits here does not keep its file open, as one in the kernel would,
// so its program can be dead, or another thread has closed the descriptor. The lock is held for ready too.
func (p *port) when(c *call, ready func() bool, then func()) {
	period, due := p.period, false
	p.later(c, func() bool {
		switch {
		case p.ended:
			return true
		case !ready():
			return false
		}
		if due = p.period == period; due && c.valid() {
			then()
		}
		return true
	}, func(errno unix.Errno) {
		switch {
		case due:
		case errno != 0:
			c.fail(errno)
		default:
			c.fail(unix.EIO) // the port has ended, or was closed
		}
	})
}

// pauseOf is the pause that ready has asked for; 0: none.
func pauseOf(again time.Duration) time.Duration {
	if again <= 0 {
		return time.Hour
	}
	return again
}

// valid reports whether the program still waits for the answer.
func (c *call) valid() bool { return c.l.valid(c.n.ID) }

// status is /proc/PID/status.
type status []byte

func statusOf(tid uint32) status {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	return text
}

func (s status) number(name string, base int) uint64 {
	for line := range bytes.Lines(s) {
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, _ := strconv.ParseUint(string(bytes.TrimSpace(value)), base, 64)
			return n
		}
	}
	return 0
}

// privileged reports whether a program may open what another has for itself: CAP_SYS_ADMIN.
func privileged(tid uint32) bool {
	return statusOf(tid).number("CapEff:", 16)&(1<<unix.CAP_SYS_ADMIN) != 0
}

// wantsTerminal reports whether a tty that this thread opens becomes its controlling terminal: it leads a session that has
// none.
func wantsTerminal(tid uint32) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
	_, behind, _ := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(" "))
	fields := bytes.Fields(behind) // state, parent, group, session, terminal
	return len(fields) > 4 && string(fields[3]) == strconv.Itoa(int(statusOf(tid).number("Tgid:", 10))) && string(fields[4]) == "0"
}
