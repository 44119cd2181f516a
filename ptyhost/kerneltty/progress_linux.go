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
// or removed at once, in as many processes, on a busy machine: there is no bound on how long one of them waits for its
// turn. So a wait continues while any port makes progress, and ends when none did for a while.
const (
	// plugPatience is how long the kernel may make no progress with such devices while a port waits for one to appear
	// or disappear.
	plugPatience = 60 * time.Second
	// openPatience is how long our own first open of a tty may make no progress.
	openPatience = 30 * time.Second
	// udevPatience is how long udev may write no record while a port waits for one.
	udevPatience = 10 * time.Second

	// checks is how often progress is checked during patience. The checks are counted, not the time, because time also
	// passes while this process is stopped.
	checks = 12
)

// The files that show progress, as patterns.
var (
	usbProgress = []string{
		"sys/devices/*/vhci_hcd.*/usb*/*-*",
		"sys/devices/*/vhci_hcd.*/usb*/*-*/*-*:1.0/ttyUSB*/tty/ttyUSB*",
	}
	udevProgress = []string{"run/udev/data/*"}
)

// steps counts the steps of attaching and removing that this process's ports have completed. They count as progress for
// the ports that wait.
var steps atomic.Uint64

// errNoProgress is the cause with which a context of whileProgress ends.
var errNoProgress = errors.New("there was no progress")

// whileProgress returns a context that ends, with errNoProgress as its cause, when for all of patience no port of this process
// has completed a step, requests (if not nil) has returned the same count, and the patterns have matched the same files.
func (s system) whileProgress(ctx context.Context, patience time.Duration, requests func() uint64, patterns []string) (context.Context, context.CancelFunc) {
	if requests == nil {
		requests = func() uint64 { return 0 }
	}
	ctx, cancel := context.WithCancelCause(ctx)
	lastSteps, lastRequests, lastFiles := steps.Load(), requests(), ""
	progressed := func() bool {
		if nowSteps, now := steps.Load(), requests(); nowSteps != lastSteps || now != lastRequests {
			lastSteps, lastRequests = nowSteps, now
			return true
		}
		now := s.matching(patterns) // last, because it costs most
		ok := now != lastFiles
		lastFiles = now
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
			if still++; progressed() {
				still = 0
			}
		}
		cancel(errNoProgress)
	}()
	return ctx, func() { cancel(nil) }
}

// matching returns the names of the files that match the patterns.
func (s system) matching(patterns []string) string {
	var all []string
	for _, pattern := range patterns {
		names, _ := filepath.Glob(s.path(pattern))
		all = append(all, names...)
	}
	return strings.Join(all, "\n")
}

// How long poll pauses between two tries: 1/pauseFraction of the time that it has waited, within these limits, so that
// a hundred waiting ports do not slow down what they wait for.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = 200 * time.Millisecond
	pauseFraction = 16
)

// poll calls done until it returns true or an error, or ctx ends; then it returns the cause. It polls because sysfs has
// no events to wait for.
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
