//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// endingSignals are those that end a command in order.
func endingSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// quits is what catchQuit waits for.
var quits = make(chan os.Signal, 1)

// catchQuit sees to it that SIGQUIT leaves no links. Its goroutine ends with the process.
func catchQuit() {
	signal.Notify(quits, syscall.SIGQUIT)
	go func() { endBy(<-quits) }()
}

// raise has a signal do to this process what it does by default. It does not return.
func raise(s os.Signal) {
	number := s.(syscall.Signal)
	_ = syscall.Kill(os.Getpid(), number)
	time.Sleep(abandonPatience) // it has been caught by nobody: it comes at once
	os.Exit(128 + int(number))
}

// outliveReaders lets this process go on when nobody reads its log any more: the runtime would end it with SIGPIPE. It is
// not ignored, for then programs that are started would ignore it too.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// untilReaderGone returns a context that ends when nobody reads what is printed any more.
func untilReaderGone(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGPIPE)
}
