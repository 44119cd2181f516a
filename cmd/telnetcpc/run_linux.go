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
	"syscall"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/agent"
	"telnetcpc/bridge/capture"
	"telnetcpc/bridge/uart"
	runhost "telnetcpc/ptyhost/run"
)

// becomeHelper must be the first call in main. In a helper process that package run has started it does not return.
func becomeHelper() { runhost.Main() }

// extraHosts returns the port hosts that --host auto never chooses, because only some programs see their ports.
func extraHosts() []uart.Host {
	host, err := runhost.New(nil, nil)
	if err != nil {
		return nil // without --port there is no path to check
	}
	return []uart.Host{host}
}

// runProgram runs a program with a port and exits with the program's status.
func runProgram(c *cli.Context) error {
	url, argv, err := runArguments(c)
	if err != nil {
		return err
	}
	level := slog.LevelWarn // the program uses the terminal: log little
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
	// Once the program runs, signals are passed on to it: this command ends when the program does.
	status, err := host.Run(c.Context, runhost.Command{
		Args: argv, Path: path, Serve: b.Run,
		ReleaseSignals: func() os.Signal {
			leaveSignals()
			return signalOf(c.Context)
		},
	})
	var start *runhost.StartError
	var early interrupted
	switch {
	case errors.As(err, &start):
		return statusError{fmt.Errorf("run: %w", err), start.Status}
	case errors.As(err, &early):
		return programStatus(signalled(c.Context))
	case err != nil:
		return err
	case status != exitDone:
		return programStatus(status)
	}
	return nil
}

// leaveSignals ends catchSignals, once signals are passed on to the program. When it returns, every earlier signal has
// ended catchSignals' context: one that was still queued would be lost.
func leaveSignals() {
	signal.Stop(endings)
	signal.Stop(quits)
	if endingsLeft != nil {
		endings <- nil
		<-endingsLeft
		endingsLeft = nil
	}
}

// signalOf returns the signal that ended a context of catchSignals; nil if none did.
func signalOf(ctx context.Context) os.Signal {
	var by interrupted
	if errors.As(context.Cause(ctx), &by) {
		return by.by
	}
	return nil
}

// signalled returns the exit status that names the signal that ended a context of catchSignals.
func signalled(ctx context.Context) int {
	if number, ok := signalOf(ctx).(syscall.Signal); ok {
		return runhost.StatusSignalled + int(number)
	}
	return exitFailed
}
