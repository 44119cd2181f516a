package kerneltty

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// The kernel handles one device of a hub after the other, and udev one event after the other. A hundred ports may be made
// or removed at once, in as many processes, on a busy machine: there is no bound for how long one of them waits for its turn.
// So a wait goes on while there is any progress of that kind, and ends when there was none for a while.
const (
	// plugPatience is how long the kernel may make no progress with such devices while a port waits for one to appear or go.
	plugPatience = 60 * time.Second
	// openPatience is how long our own first open of a tty may make no progress.
	openPatience = 30 * time.Second
	// udevPatience is how long udev may write no record.
	udevPatience = 10 * time.Second

	// checks is how often progress is checked during patience. The checks are counted, not the time, because time also passes
	// while this process itself does not run.
	checks = 12
)

// The files that show progress, as patterns.
var (
	usbShown = []string{
		"sys/devices/*/vhci_hcd.*/usb*/*-*",
		"sys/devices/*/vhci_hcd.*/usb*/*-*/*-*:1.0/ttyUSB*/tty/ttyUSB*",
	}
	udevShown = []string{"run/udev/data/*"}
)

// steps counts the steps that this process's ports have completed in being made and removed. To other ports that wait, they are
// progress.
var steps atomic.Uint64

// errNoProgress is the cause of the end of a context of whileProgress.
var errNoProgress = errors.New("there was no progress")

// whileProgress returns a context that ends, with errNoProgress as its cause, when for all of patience no port of this process
// has completed a step, requests (if not nil) has returned the same count, and the patterns have matched the same files.
func (s system) whileProgress(ctx context.Context, patience time.Duration, requests func() uint64, patterns []string) (context.Context, context.CancelFunc) {
	if requests == nil {
		requests = func() uint64 { return 0 }
	}
	ctx, cancel := context.WithCancelCause(ctx)
	lastSteps, lastRequests, lastShown := steps.Load(), requests(), ""
	moved := func() bool {
		if nowSteps, now := steps.Load(), requests(); nowSteps != lastSteps || now != lastRequests {
			lastSteps, lastRequests = nowSteps, now
			return true
		}
		now := s.shown(patterns) // last, because it costs most
		ok := now != lastShown
		lastShown = now
		return ok
	}
	go func() { // until the context ends
		tick := time.NewTicker(patience / checks)
		defer tick.Stop()
		for still := 0; still < checks; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if still++; moved() {
				still = 0
			}
		}
		cancel(errNoProgress)
	}()
	return ctx, func() { cancel(nil) }
}

// shown returns the names of the files that match the patterns.
func (s system) shown(patterns []string) string {
	var all []string
	for _, pattern := range patterns {
		names, _ := filepath.Glob(s.path(pattern))
		all = append(all, names...)
	}
	return strings.Join(all, "\n")
}

// How long poll pauses between two tries: a fraction of the time that it has waited, so that a hundred ports that wait do not
// slow down what they wait for.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = 200 * time.Millisecond
	pauseFraction = 16
)

// poll calls done until it returns true or an error, or ctx ends, whose cause it returns. sysfs has no events to wait for.
func poll(ctx context.Context, done func() (bool, error)) error {
	began := time.Now()
	pause := time.NewTimer(shortestPause)
	defer pause.Stop()
	for {
		ok, err := done()
		if ok && err == nil {
			steps.Add(1)
		}
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-pause.C:
		}
		pause.Reset(min(max(time.Since(began)/pauseFraction, shortestPause), longestPause))
	}
}
