//go:build amd64 || arm64

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/agent"
	"telnetcpc/bridge/capture"
	"telnetcpc/bridge/uart"
	runhost "telnetcpc/ptyhost/run"
)

// becomeStage must come first in main: this process may be one that run has started of its own binary.
func becomeStage() { runhost.Main() }

// besides are the port hosts that make no port for everybody.
func besides() []uart.Host {
	host, err := runhost.New(nil, nil)
	if err != nil {
		return nil // no path was asked for: none can be wrong
	}
	return []uart.Host{host}
}

// runProgram runs a program with a port, and ends as the program does.
func runProgram(c *cli.Context) error {
	url, argv, err := runArguments(c)
	if err != nil {
		return err
	}
	level := slog.LevelWarn // the terminal is the program's
	if c.Bool("v") {
		level = slog.LevelDebug
	}
	log := newLogAt(errOut, level)
	host, err := runhost.New(c.StringSlice("as"), log)
	if err != nil {
		return usagef("--as: %w", err)
	}
	path := c.String("port")
	if path == "" {
		dir, err := os.MkdirTemp("", "telnetcpc-run-")
		if err != nil {
			return fmt.Errorf("run: no directory for the port: %w (--port PATH names another place)", err)
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "ttyV0")
	}
	p, err := portOf(c, path, url)
	if err != nil {
		return err
	}
	p.Host = host
	b, err := agent.NewBridge(p, log)
	if err != nil {
		return usageError{err}
	}
	outliveReaders()
	if c.Bool("v") {
		stop := capture.Lines(b, errOut)
		defer stop()
	}
	defer obeySleep(b)()
	// Signals are the program's, once it is started: this command ends with it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.Context))
	defer cancel()
	lost := make(chan error, 1)
	go func() { lost <- b.Run(ctx) }()
	return runWith(c.Context, host, argv, path, lost, cancel, log)
}

// runWith starts the program when the port is there, and waits for its end and for the last bytes. lost gets the bridge's
// end, which cancel brings about. early ends by a signal that comes before the program is there.
func runWith(early context.Context, host *runhost.Host, argv []string, path string, lost chan error, cancel func(), log *slog.Logger) error {
	select {
	case err := <-lost:
		return err
	case <-early.Done():
	case <-host.Ready():
	}
	if early.Err() != nil {
		cancel()
		<-lost
		return programStatus(signalled(early))
	}
	abs, err := filepath.Abs(path)
	if err == nil {
		err = host.Adopt()
	}
	var program *runhost.Program
	if err == nil {
		program, err = host.Start(argv, runhost.Environment(abs))
	}
	if err != nil {
		cancel()
		<-lost
		var start *runhost.StartError
		if errors.As(err, &start) {
			return statusError{fmt.Errorf("run: %w", err), start.Status}
		}
		return fmt.Errorf("run: %w", err)
	}
	defer program.Close()
	enough := make(chan struct{}, 1) // a signal
	stop := program.Forward(func(os.Signal) {
		select {
		case enough <- struct{}{}:
		default:
		}
	})
	defer stop()
	leaveSignals()
	if early.Err() != nil { // it came while the program was started
		_ = unix.Kill(os.Getpid(), unix.Signal(signalled(early)-statusSignalled))
	}
	select {
	case <-program.Ended():
	case err := <-lost:
		log.Error("the program goes on without its port", "err", err)
		<-program.Ended()
		lost <- nil
	}
	select { // it is the program's, until here
	case <-enough:
	default:
	}
	awaitOthers(host, program, enough, log)
	cancel()
	<-lost
	if status := program.Status(); status != exitDone {
		return programStatus(status)
	}
	return nil
}

// leaveSignals ends what catchSignals does, once the program has the signals. When it returns catchSignals' context has ended
// by each that came before: one that was only on its way there would be nobody's.
func leaveSignals() {
	signal.Stop(endings)
	signal.Stop(quits)
	if endingsLeft != nil {
		endings <- nil
		<-endingsLeft
		endingsLeft = nil
	}
}

// statusSignalled is the exit status of what a signal has ended, plus the signal's number.
const statusSignalled = 128

// signalled is the exit status that says which signal has ended a context of catchSignals.
func signalled(ctx context.Context) int {
	var by interrupted
	if errors.As(context.Cause(ctx), &by) {
		if number, ok := by.by.(unix.Signal); ok {
			return statusSignalled + int(number)
		}
	}
	return exitFailed
}

const (
	// runGrace is how long what the program has left behind may take to open the port: a daemon forks first.
	runGrace = time.Second
	// runPatience is how long others may have the port after the program's end before it is said.
	runPatience = 2 * time.Second
)

// awaitOthers waits until nobody has the port open and what was written is on its way, or a signal comes.
func awaitOthers(host *runhost.Host, program *runhost.Program, enough <-chan struct{}, log *slog.Logger) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	say := time.NewTimer(runPatience)
	defer say.Stop()
	left, grace := program.Left(), time.After(runGrace)
	for coming := true; coming || host.Busy(); {
		select {
		case <-left:
			left, coming = nil, false
		case <-grace:
			coming = false
		case <-tick.C:
		case <-enough:
			return
		case <-say.C:
			log.Warn("the program has ended; what it has started still has the port open, or its bytes wait for the remote (Ctrl-C ends it)")
		}
	}
}
