package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// What signals do, except under run, which passes them to the program:
//
//   - SIGINT, SIGTERM, and SIGHUP unless it was ignored (nohup), end the command in order: bytes are sent, links removed.
//   - A second SIGINT or SIGTERM removes the links and ends the process at once, by that signal. SIGHUP does not count as
//     the second: a closed window sends two, the kernel's and the shell's, and systemd sends one with its SIGTERM.
//   - SIGQUIT removes the links; then the runtime prints the stack of every goroutine and ends, as always.
//   - SIGPIPE ends no command that makes or serves ports: see outliveReaders.
//
// After SIGKILL and crashes the watcher process cleans up: see devpath.

// endings receives the signals that catchSignals waits for. A nil signal ends its goroutine, which then closes
// endingsLeft.
var (
	endings     = make(chan os.Signal, 4)
	endingsLeft chan struct{} // nil: no goroutine waits for endings
)

// abandonPatience bounds how long removing the links may take when the process must end at once.
const abandonPatience = time.Second

// interrupted is the cause with which catchSignals' context ends.
type interrupted struct{ by os.Signal }

func (i interrupted) Error() string { return fmt.Sprintf("interrupted: %v", i.by) }

// catchSignals returns a context that ends at the first signal, with interrupted as its cause. It is called once. Its
// goroutines end with the process, or after leaveSignals.
func catchSignals() context.Context {
	ctx, end := context.WithCancelCause(context.Background())
	endingsLeft = make(chan struct{})
	signal.Notify(endings, endingSignals()...)
	go func() {
		for hurry := 0; hurry < 2; {
			s := <-endings
			if s == nil {
				close(endingsLeft)
				return
			}
			end(interrupted{s})
			if s != syscall.SIGHUP {
				hurry++
			}
			if hurry == 2 {
				endBy(s)
			}
		}
	}()
	catchQuit()
	return ctx
}

// endBy removes the links, then ends the process with a signal.
func endBy(s os.Signal) {
	abandoned := make(chan struct{})
	go func() { // ends with the process if a file system hangs
		defer close(abandoned)
		abandonLinks()
	}()
	select {
	case <-abandoned:
	case <-time.After(abandonPatience):
	}
	signal.Reset(s)
	raise(s)
}
