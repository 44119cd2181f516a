//go:build amd64 || arm64

package run

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A program's run, from the port's first appearance to the last byte of what the program leaves behind.

const (
	// leftoverGrace is how long processes that the program leaves behind have to open the port: a daemon forks first.
	leftoverGrace = time.Second
	// leftoverWarning is how long such processes may keep the port open before a warning is logged.
	leftoverWarning = 2 * time.Second
	// leftoverPoll is how often the port is checked for them.
	leftoverPoll = 5 * time.Millisecond
)

// Command is a program to run, and what serves its port meanwhile.
type Command struct {
	// Args is the program and its arguments. Args[0] is looked up in PATH, as execvp(3) does.
	Args []string
	// Path is the port's path. The program finds it, as an absolute path, in its environment: TELNETCPC_PORT.
	Path string
	// Serve opens the host's port and serves it until its context ends. It runs in a goroutine of its own.
	Serve func(context.Context) error
	// ReleaseSignals is called once, when the program runs and its signals are passed on to it. It must end the
	// caller's own handling of signals, and returns one that arrived meanwhile, which then goes to the program; nil if
	// there was none.
	ReleaseSignals func() os.Signal
}

// Run serves the port, starts the program once the port is there, passes signals on to it, and waits until it has
// ended, nobody has the port open any more, and all that was written has been taken by whoever serves the port. A
// signal ends the wait for the last two. Run makes this process the parent of the orphans of its programs
// (PR_SET_CHILD_SUBREAPER); it must have no children but this host's.
//
// The status is the program's exit status, or 128 and the number of the signal that ended it. The error is a
// *StartError if the program could not be started, the error of Serve if the port could not be made, or the cause of
// ctx's end if ctx ended before the program was started. After that the end of ctx has no effect. Serve has returned
// when Run returns.
func (h *Host) Run(ctx context.Context, c Command) (status int, err error) {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- c.Serve(serving) }() // ends by stop, or because the port is lost
	select {
	case err := <-served:
		stop()
		return 0, err
	case <-ctx.Done():
	case <-h.ready:
	}
	end := func() {
		stop()
		<-served
	}
	if ctx.Err() != nil {
		end()
		return 0, context.Cause(ctx)
	}
	p, err := h.startAt(c.Path, c.Args)
	if err != nil {
		end()
		return 0, err
	}
	defer p.Close()
	signalled := make(chan struct{}, 1)
	defer p.forward(func(os.Signal) {
		select {
		case signalled <- struct{}{}:
		default:
		}
	})()
	if s, ok := c.ReleaseSignals().(syscall.Signal); ok {
		_ = unix.Kill(os.Getpid(), s) // passed on like any other
	}
	select {
	case <-p.Ended():
	case err := <-served:
		h.log.Error("the port is gone; the program continues without it", "err", err)
		<-p.Ended()
		served <- nil
	}
	select { // until here it was meant for the program
	case <-signalled:
	default:
	}
	h.awaitLeftovers(p, signalled)
	end()
	return p.Status(), nil
}

// startAt starts a program whose environment has the port's path.
func (h *Host) startAt(path string, args []string) (*Program, error) {
	abs, err := filepath.Abs(path)
	if err == nil {
		err = h.children.adoptOrphans()
	}
	if err != nil {
		return nil, &StartError{StatusFailed, err}
	}
	return h.Start(args, environment(abs))
}

// awaitLeftovers waits until no process has the port open and everything written has been taken, or until a signal
// arrives.
func (h *Host) awaitLeftovers(p *Program, signalled <-chan struct{}) {
	poll := time.NewTicker(leftoverPoll)
	defer poll.Stop()
	warning := time.NewTimer(leftoverWarning)
	defer warning.Stop()
	left, grace := p.left(), time.After(leftoverGrace)
	for coming := true; coming || h.busy(); {
		select {
		case <-left:
			left, coming = nil, false
		case <-grace:
			coming = false
		case <-poll.C:
		case <-signalled:
			return
		case <-warning.C:
			h.log.Warn("the program has ended, but a process that it started still has the port open, or its bytes wait for the remote (Ctrl-C ends it)")
		}
	}
}
