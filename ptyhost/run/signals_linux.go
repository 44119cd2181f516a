//go:build amd64 || arm64

package run

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// forwarded are the signals that are passed on to the program.
var forwarded = []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}

// Forward passes the signals that this process gets on to the program, until stop is called; each once: what a terminal or
// kill(1) has sent to the whole process group the program has got itself. From here on they do not end this process. got
// is told of each, after it was passed on; it may be nil.
func (p *Program) Forward(got func(os.Signal)) (stop func()) {
	signals := make(chan os.Signal, 16)
	for _, s := range forwarded {
		if !signal.Ignored(s) { // nohup: the program ignores it as well
			signal.Notify(signals, s)
		}
	}
	done := make(chan struct{})
	go func() { // ends by stop
		for {
			select {
			case s := <-signals:
				number := s.(syscall.Signal)
				if !p.guard.heard.take(number) || !p.inGroup() {
					p.signal(number)
				}
				if got != nil {
					got(s)
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// inGroup reports whether the program is in this process's process group, as the guard is: it gets what is sent to that.
func (p *Program) inGroup() bool {
	group, err := unix.Getpgid(p.pid)
	return err == nil && group == unix.Getpgrp()
}

// signal sends a signal to the program, if it has not ended.
func (p *Program) signal(number syscall.Signal) {
	select {
	case <-p.exit: // its number may be another's
	default:
		_ = unix.Kill(p.pid, number)
	}
}

// groupPatience is how long the guard may take to say that it got a signal too.
const groupPatience = 100 * time.Millisecond

// groupAge is how old what the guard has told may be to be of the same sending.
const groupAge = time.Second

// heard are the signals that the guard has told of, which come in any order.
type heard struct {
	mu   sync.Mutex // over at
	at   map[syscall.Signal]time.Time
	news chan struct{} // one slot
}

func (h *heard) init() {
	h.at, h.news = map[syscall.Signal]time.Time{}, make(chan struct{}, 1)
}

func (h *heard) add(number syscall.Signal) {
	h.mu.Lock()
	h.at[number] = time.Now()
	h.mu.Unlock()
	select {
	case h.news <- struct{}{}:
	default:
	}
}

// take reports whether the guard has got the signal too, now or soon.
func (h *heard) take(number syscall.Signal) bool {
	patience := time.NewTimer(groupPatience)
	defer patience.Stop()
	for {
		h.mu.Lock()
		at, told := h.at[number]
		delete(h.at, number)
		h.mu.Unlock()
		if told && time.Since(at) < groupAge {
			return true
		}
		select {
		case <-h.news:
		case <-patience.C:
			return false
		}
	}
}
