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

// forward passes signals that this process receives on to the program, each once, until stop is called. A signal that a
// terminal or kill(1) has sent to the whole process group has reached the program already. From here on these signals
// do not end this process. got is called with each signal after it was passed on; it may be nil.
func (p *Program) forward(got func(os.Signal)) (stop func()) {
	signals := make(chan os.Signal, 16)
	for _, s := range forwarded {
		if !signal.Ignored(s) { // nohup: the program ignores it, too
			signal.Notify(signals, s)
		}
	}
	done := make(chan struct{})
	go func() { // ends by stop
		for {
			select {
			case s := <-signals:
				number := s.(syscall.Signal)
				if !p.standby.groupSignals.wasReceived(number) || !p.inGroup() {
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

// inGroup reports whether the program is in the process group of this process and of the standby.
func (p *Program) inGroup() bool {
	group, err := unix.Getpgid(p.pid)
	return err == nil && group == unix.Getpgrp()
}

// signal sends a signal to the program, unless it has exited.
func (p *Program) signal(number syscall.Signal) {
	select {
	case <-p.exit: // its pid may be another process's
	default:
		_ = unix.Kill(p.pid, number)
	}
}

// groupSignalWait is how long the standby may take to report that it received a signal, too.
const groupSignalWait = 100 * time.Millisecond

// groupSignalAge is the maximum age of a report for it to belong to the same kill.
const groupSignalAge = time.Second

// groupSignals are the signals that the standby has reported; reports arrive in any order.
type groupSignals struct {
	mu      sync.Mutex // guards at
	at      map[syscall.Signal]time.Time
	arrived chan struct{} // one slot: wakes wasReceived
}

func (h *groupSignals) init() {
	h.at, h.arrived = map[syscall.Signal]time.Time{}, make(chan struct{}, 1)
}

func (h *groupSignals) add(number syscall.Signal) {
	h.mu.Lock()
	h.at[number] = time.Now()
	h.mu.Unlock()
	select {
	case h.arrived <- struct{}{}:
	default:
	}
}

// wasReceived reports whether the standby has received the signal, too, or does so within groupSignalWait.
func (h *groupSignals) wasReceived(number syscall.Signal) bool {
	patience := time.NewTimer(groupSignalWait)
	defer patience.Stop()
	for {
		h.mu.Lock()
		at, reported := h.at[number]
		delete(h.at, number)
		h.mu.Unlock()
		if reported && time.Since(at) < groupSignalAge {
			return true
		}
		select {
		case <-h.arrived:
		case <-patience.C:
			return false
		}
	}
}
