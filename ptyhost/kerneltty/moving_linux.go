package kerneltty

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// The kernel takes up one device of a hub after the other, and udev one event after the other. A hundred ports may be made
// or taken away at once, in as many processes, on a machine that is busy with other things: how long one of them waits for
// its turn has no bound. So a wait goes on while anything of that kind moves, and ends when nothing has for a while.
const (
	// plugPatience is how long the kernel may do nothing with such devices while one is waited for, to come or to go.
	plugPatience = 60 * time.Second
	// openPatience is how long our own first open of a tty may stand still.
	openPatience = 30 * time.Second
	// udevPatience is how long udev may write down nothing.
	udevPatience = 10 * time.Second

	// looks is into how many parts patience is cut. Who was not running himself has not looked: what counts is looks, not
	// time.
	looks = 12
)

// What a machine shows of its work, as patterns of files.
var (
	usbShown = []string{
		"sys/devices/*/vhci_hcd.*/usb*/*-*",
		"sys/devices/*/vhci_hcd.*/usb*/*-*/*-*:1.0/ttyUSB*/tty/ttyUSB*",
	}
	udevShown = []string{"run/udev/data/*"}
)

// steps counts what this process's ports have behind them of being made and being taken away. Others that wait see by it
// that the machine goes on.
var steps atomic.Uint64

// errStill is the cause of the end of a context of whileMoving.
var errStill = errors.New("nothing has moved")

// whileMoving returns a context that ends, with errStill as its cause, when for all of patience no port of this process
// has come further, requests, where it is not nil, has counted none, and the files of the patterns were the same.
func (s system) whileMoving(ctx context.Context, patience time.Duration, requests func() uint64, patterns []string) (context.Context, context.CancelFunc) {
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
		now := s.shown(patterns) // last, for it costs most
		ok := now != lastShown
		lastShown = now
		return ok
	}
	go func() { // until the context ends
		tick := time.NewTicker(patience / looks)
		defer tick.Stop()
		for still := 0; still < looks; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if still++; moved() {
				still = 0
			}
		}
		cancel(errStill)
	}()
	return ctx, func() { cancel(nil) }
}

// shown is the names of the files of the patterns.
func (s system) shown(patterns []string) string {
	var all []string
	for _, pattern := range patterns {
		names, _ := filepath.Glob(s.path(pattern))
		all = append(all, names...)
	}
	return strings.Join(all, "\n")
}

// How long poll rests between two looks: a part of what it has waited, so that a hundred who wait leave the machine to
// what they wait for.
const (
	shortestRest = 5 * time.Millisecond
	longestRest  = 200 * time.Millisecond
	restPart     = 16
)

// poll looks again and again until done, an error, or the end of ctx, whose cause it returns; sysfs announces nothing that
// could be waited for.
func poll(ctx context.Context, done func() (bool, error)) error {
	began := time.Now()
	rest := time.NewTimer(shortestRest)
	defer rest.Stop()
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
		case <-rest.C:
		}
		rest.Reset(min(max(time.Since(began)/restPart, shortestRest), longestRest))
	}
}
