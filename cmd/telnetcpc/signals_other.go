//go:build !unix

package main

import (
	"context"
	"os"
	"syscall"
)

// endingSignals returns the signals that end a command in order.
func endingSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// catchQuit does nothing: this system has no such signal.
func catchQuit() {}

// raise ends the process as the system does by default on Ctrl-C (STATUS_CONTROL_C_EXIT).
func raise(os.Signal) { os.Exit(-0x3ffffec6) }

// outliveReaders does nothing: on this system there is no SIGPIPE.
func outliveReaders() {}

// untilReaderGone returns a context that only its parent ends: on this system there is no SIGPIPE.
func untilReaderGone(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}
