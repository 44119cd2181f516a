//go:build !unix

package main

import (
	"context"
	"os"
	"syscall"
)

// endingSignals are those that end a command in order.
func endingSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// catchQuit has nothing to do: there is no such signal here.
func catchQuit() {}

// raise ends the process as the system does by default where nobody catches Ctrl-C (STATUS_CONTROL_C_EXIT).
func raise(os.Signal) { os.Exit(-0x3ffffec6) }

// outliveReaders has nothing to do: here a write that fails is an error and no more.
func outliveReaders() {}

// untilReaderGone returns a context: here nothing tells that nobody reads.
func untilReaderGone(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}
