package bridge_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telnetcpc/bridge"
	"telnetcpc/bridge/remote"
)

// The storm over real TCP: the same application, the real client, and servers of the worst kinds. It must leave
// nothing: no goroutine, no descriptor, no memory, and no byte that is neither delivered nor counted.
func TestStormTCP(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 30 s")
	}
	h := newHostile(t)
	tcpRound(t, h, 0) // so that what is made only once exists before
	alone, files, heap := goleak.IgnoreCurrent(), openFiles(t), heapInUse()
	until := time.Now().Add(stormTime(t, 12*time.Second))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var workers sync.WaitGroup
	rounds := make([]int, 24)
	for i := range rounds {
		workers.Go(func() {
			for ; time.Now().Before(until); rounds[i]++ {
				tcpRound(t, h, seed+uint64(i*1_000_000+rounds[i]))
			}
		})
	}
	workers.Wait()
	t.Logf("%d rounds, %d connections", rounds, h.accepted.Load())
	h.settle()
	if err := goleak.Find(alone); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(30 * time.Second); openFiles(t) > files; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, %d were before", openFiles(t), files)
		}
	}
	const most = 8 << 20
	if now := heapInUse(); now > heap+most {
		t.Errorf("%d bytes are in use, %d were before", now, heap)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// heapInUse is what is in use after all garbage is collected.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // the second collects what has a finalizer, or lies in a pool
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// tcpRound is the life of one bridge.
func tcpRound(t *testing.T, h *hostile, seed uint64) {
	s := newStorm(t, seed)
	s.far = nil
	log := &tcpLog{model: s.model}
	book := h.open()
	url, err := remote.Parse(h.address(book))
	if err != nil {
		t.Error(err)
		return
	}
	r, err := remote.New(url, remote.Options{AckTimeout: 200 * time.Millisecond, Log: slog.New(log)})
	if err != nil {
		t.Error(err)
		return
	}
	s.bridge = bridge.New(bridge.Config{
		Name: "ttyV0", Path: "/dev/ttyV0", Remote: r, Policy: s.policy, Log: slog.New(log), Open: s.open,
	})
	s.tcpLife(book)
	h.close(book)
	s.tcpJudge(book.delivered.Load(), log.atMost)
}

// tcpLife runs the bridge and its application, to the end of both.
func (s *storm) tcpLife(book *book) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.bridge.Run(ctx) }()
	for s.now() == nil {
		time.Sleep(time.Millisecond)
	}
	over := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { s.read(over) })
	app := &application{storm: s, random: rand.New(rand.NewPCG(s.seed, 2)), hurry: 50}
	app.steps(20 + s.random.IntN(150))
	if s.random.IntN(4) == 0 {
		s.bridge.Sleep()
		app.steps(5)
		s.bridge.Wake()
		app.steps(20)
	}
	all.Go(func() { app.steps(10) })
	if s.random.IntN(4) > 0 {
		book.end() // else the shutdown comes in the middle, and may take its time
	}
	began := time.Now()
	cancel()
	err := <-ended
	if took := time.Since(began); err != nil || took > 20*time.Second {
		s.Errorf("seed %d: Run ended after %v: %v", s.seed, took, err)
	}
	s.still.Store(true)
	close(over)
	all.Wait()
	s.calls.Wait()
}

// tcpJudge checks what was delivered against what the bridge reports.
func (s *storm) tcpJudge(delivered, atMost uint64) {
	got := s.bridge.Status()
	switch taken := s.model.taken; {
	case got.UpBytes+got.UpDropped != taken:
		s.Errorf("seed %d: %d bytes were taken: %d sent and %d dropped", s.seed, taken, got.UpBytes, got.UpDropped)
	case delivered > got.UpBytes:
		s.Errorf("seed %d: %d bytes were delivered, %d sent", s.seed, delivered, got.UpBytes)
	case got.UpBytes-delivered > atMost:
		s.Errorf("seed %d: of %d bytes sent %d were delivered, and %d may be lost", s.seed, got.UpBytes, delivered, atMost)
	default:
		return
	}
	s.Logf("%+v lacks %v\n%s", s.policy, s.lacks, &s.model.diary)
}

// tcpLog adds up what the ends of sessions may have cost.
type tcpLog struct {
	model *model

	mu     sync.Mutex
	atMost uint64
}

func (*tcpLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *tcpLog) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l *tcpLog) WithGroup(string) slog.Handler          { return l }

func (l *tcpLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		if a.Key == "lost_at_most" {
			l.atMost += a.Value.Uint64()
		}
		return true
	})
	l.model.diary.note("\t%s", line)
	return nil
}
