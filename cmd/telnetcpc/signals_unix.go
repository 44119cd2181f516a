//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// endingSignals returns the signals that end a command in order.
func endingSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// quits receives the SIGQUIT that catchQuit waits for.
var quits = make(chan os.Signal, 1)

// catchQuit removes the links on SIGQUIT. Its goroutine ends with the process.
func catchQuit() {
	signal.Notify(quits, syscall.SIGQUIT)
	go func() { endBy(<-quits) }()
}

// raise sends this process a signal with its default action. It does not return.
func raise(s os.Signal) {
	number := s.(syscall.Signal)
	_ = syscall.Kill(os.Getpid(), number)
	time.Sleep(abandonPatience) // the signal ends the process meanwhile
	os.Exit(128 + int(number))
}

// outliveReaders keeps this process running when the reader of its log is gone: by default Go's runtime ends it with
// SIGPIPE. The signal is caught, not ignored, because started programs inherit an ignored signal.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// untilReaderGone returns a context that ends when the reader of the output is gone (SIGPIPE).
func untilReaderGone(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGPIPE)
}
