//go:build amd64 || arm64

package run

import (
	"sync"
	"testing"
)

// TestPathCallTableConcurrent: goroutines that add calls at the same time, because one replaces another, never share an
// entry.
func TestPathCallTableConcurrent(t *testing.T) {
	const workers, rounds = 4, 20_000
	l, h := &listener{fd: -1}, &pathCallTable{} // no call waits: every entry is free at once
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range rounds {
				c := &call{l: l, n: notification{ID: uint64(1 + worker + i*workers), TID: uint32(worker)}}
				h.add(c).setOnPort(c.n.ID)
			}
		})
	}
	wg.Wait()
	for i := range h.calls {
		if k := &h.calls[i]; k.id.Load() != k.call.ID {
			t.Errorf("entry %d is of call %d, but contains call %d", i, k.id.Load(), k.call.ID)

		}
	}
}
