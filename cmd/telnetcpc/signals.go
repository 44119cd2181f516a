package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// What signals do, but to run, where they are the program's:
//
//   - SIGINT, SIGTERM, and SIGHUP where it was not ignored (nohup), end the command in order: bytes go out, links go away.
//   - A second SIGINT or SIGTERM removes the links and ends the process at once, by that signal. A SIGHUP counts for none:
//     a window that is closed sends two, the kernel's and the shell's, and systemd sends one with its SIGTERM.
//   - SIGQUIT removes the links; then the runtime does as ever: it says what every goroutine is at, and ends.
//   - SIGPIPE ends no command that makes ports or serves one: see outliveReaders.
//
// SIGKILL, and every crash, is the watcher process's business: see devpath.

// endings is what catchSignals waits for; nil ends that, and endingsLeft is closed then.
var (
	endings     = make(chan os.Signal, 4)
	endingsLeft chan struct{} // nil: nobody waits for endings
)

// abandonPatience bounds how long the links of a process may take that is to end at once.
const abandonPatience = time.Second

// interrupted is the cause of the end of catchSignals' context.
type interrupted struct{ by os.Signal }

func (i interrupted) Error() string { return fmt.Sprintf("interrupted: %v", i.by) }

// catchSignals returns a context that ends with the first signal, interrupted its cause. It is called once. Its goroutines
// end with the process, or by leaveSignals.
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

// endBy ends the process by a signal, after its links.
func endBy(s os.Signal) {
	abandoned := make(chan struct{})
	go func() { // it ends with the process where a file system hangs
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
