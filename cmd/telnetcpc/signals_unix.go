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

// quits gets the SIGQUIT that catchQuit waits for.
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
	time.Sleep(abandonPatience) // nothing catches the signal: it comes at once
	os.Exit(128 + int(number))
}

// outliveReaders keeps this process running when nobody reads its log any more: the runtime would end it by SIGPIPE. The
// signal is caught, not ignored, because programs that are started would inherit that.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// untilReaderGone returns a context that ends when nobody reads the output any more.
func untilReaderGone(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGPIPE)
}
