package ordered_test

import (
	"runtime"
	"testing"

	"telnetcpc/bridge/ordered"
)

// heap returns how much memory the values of n calls of make take.
func heap(n int, make func(i int)) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		make(i)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return max(after.HeapAlloc, before.HeapAlloc) - before.HeapAlloc
}

// An idle port that was once busy holds no big buffer: there may be a thousand of them.
func TestIdleQueueIsSmall(t *testing.T) {
	const ports, most = 200, 9 << 10
	full := make([]byte, ordered.Limit)
	taken := make([]byte, ordered.Limit)
	for name, empty := range map[string]func(*ordered.Queue){
		"taken":   func(q *ordered.Queue) { q.Take(taken) },
		"dropped": func(q *ordered.Queue) { q.Drop() },
	} {
		t.Run(name, func(t *testing.T) {
			queues := make([]ordered.Queue, ports)
			held := heap(ports, func(i int) {
				queues[i].Push(full)
				empty(&queues[i])
			})
			if held > ports*most {
				t.Errorf("%d empty queues hold %d bytes, want at most %d each", ports, held, most)
			}
			runtime.KeepAlive(queues)
		})
	}
}

// The memory of a queue that is never empty is a multiple of what waits, not of what has passed through it.
func TestBusyFIFOIsBounded(t *testing.T) {
	var f ordered.FIFO
	piece, buf := make([]byte, 1000), make([]byte, 1000)
	held := heap(1, func(int) {
		f.Push(piece)
		for range 10_000 {
			f.Push(piece)
			f.Take(buf)
		}
	})
	if held > 16<<10 {
		t.Errorf("a FIFO of %d bytes holds %d", f.Len(), held)
	}
	runtime.KeepAlive(&f)
}

// Usual traffic, a piece in and a piece out, allocates nothing.
func TestUsualTrafficAllocatesNothing(t *testing.T) {
	var q ordered.Queue
	piece, buf := make([]byte, 4096), make([]byte, 4096)
	q.Push(piece)
	q.Take(buf)
	if n := testing.AllocsPerRun(100, func() {
		q.Push(piece)
		q.Take(buf)
	}); n != 0 {
		t.Errorf("%v allocations for a piece of %d bytes", n, len(piece))
	}
}

// Small pushes and takes on a full FIFO do not move all its bytes each time.
func BenchmarkFullFIFO(b *testing.B) {
	var f ordered.FIFO
	f.Push(make([]byte, ordered.Limit))
	one := make([]byte, 1)
	for b.Loop() {
		f.Push(one)
		f.Take(one)
	}
}
