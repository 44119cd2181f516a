//go:build amd64 || arm64

package run

import (
	"testing"
	"time"

	"telnetcpc/bridge/uart"
)

// Patience sets the timeouts of waits for a remote that takes nothing. The test must not be parallel to others.
func Patience(t *testing.T, d time.Duration) {
	hold, last := roomTimeout, closingWait
	roomTimeout, closingWait = d, d
	t.Cleanup(func() { roomTimeout, closingWait = hold, last })
}

// Waits returns how many opens of a port of this package wait.
func Waits(p uart.Port) int {
	q := p.(*port)
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.opens.waiting)
}

// Busy is Host.busy.
func Busy(h *Host) bool { return h.busy() }
