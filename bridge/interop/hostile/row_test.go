//go:build unix

package hostile

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telnetcpc/bridge"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/testenv"
)

// The bounds. They are generous only if the load of the machine can affect them.
const (
	// keptMost is 1 MiB for the session, and what the row itself needs: the server's buffers (some 100 KiB), the application's
	// queue in each direction (80 KiB), log lines, the session of an honest server.
	keptMost = 1<<20 + 512<<10
	// peakMost bounds the memory from the system: the garbage collector runs only after 4 MiB of garbage, and the heap grows in
	// steps of 4 MiB.
	peakMost = 24 << 20
	// openingMost is 10 s, and 20 s for a busy machine.
	openingMost = 30 * time.Second
	// endMost is 15 s, and 15 s for a busy machine.
	endMost = 30 * time.Second
	// linesMost is how many log lines the server may cause in a minute: six, six about losses, and those of start and end. No
	// row lasts longer.
	linesMost = 16
	// repeatFor is how long a row of many connections lasts.
	repeatFor = 25 * time.Second
	// tripsBefore is how many round trips the bystander makes before the row, to measure its speed, and at least during the row.
	// The median during the row may be slower times the one before, or slowest, which no load exceeds.
	tripsBefore, slower, slowest = 40, 50, 500 * time.Millisecond
	// standstill is how long one round trip may take.
	standstill = 20 * time.Second
)

// game is a row while it is played.
type game struct {
	t     *testing.T
	table *table
	row   row

	memory *memory
	app    *application
	victim *side
	over   context.Context // ends with the row; the server then closes its connections
	finish context.CancelFunc

	blocks  map[string][]byte // of floods; made before memory is measured
	first   atomic.Pointer[talk]
	played  chan error // the first connection's steps are done
	talks   sync.WaitGroup
	conns   atomic.Int64
	flooded atomic.Int64
	numbers atomic.Int64

	mu    sync.Mutex
	notes []string // shown if the row fails
}

func slogTo(l *logbook) *slog.Logger { return slog.New(l) }

// note keeps a line that is shown if the row fails.
func (g *game) note(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.notes) < linesKept {
		g.notes = append(g.notes, sprintf(format, args...))
	}
}

// playRow plays a row in this process.
func playRow(t *testing.T, b *table, r row) {
	alone := goleak.IgnoreCurrent()
	g := &game{t: t, table: b, row: r, blocks: map[string][]byte{}, played: make(chan error, 1)}
	g.over, g.finish = context.WithCancel(context.Background())
	defer g.finish()
	for _, s := range r.all() {
		if s.verb == "flood" {
			g.blocks[s.args[0]] = block(s.args[0])
		}
	}

	other := listen(t)
	endOther := honest(g, other)
	by := newBystander(g, other.Addr().String())
	g.await("the bystander's round trips", func() bool { return by.done() >= tripsBefore })
	before, _, _ := by.since(0)

	l := listen(t)
	good := newHandoff(l.Addr())
	endGood := honest(g, good)
	g.victim = attach(g, "ttyV0", l.Addr().String())
	g.memory = newMemory()
	from := by.done()
	g.app = newApplication(g.victim.port)
	g.talks.Go(func() { g.serve(l, good) }) // ends with the listener
	g.app.open()

	watched := make(chan struct{})
	g.talks.Go(func() { g.memory.watch(watched) })
	g.waitForSteps()
	g.judge()
	g.memory.sample()
	g.await("the bystander's round trips go on", func() bool { return by.done() >= from+tripsBefore })
	median, pending, trips := by.since(from)

	took, err := g.victim.end()
	if err != nil || took > endMost {
		t.Errorf("Run returned after %v: %v", took, err)
	}
	close(watched)
	g.app.wait()
	g.finish()
	_ = l.Close()
	g.talks.Wait()
	endGood()

	if err := by.leave(); err != nil {
		t.Errorf("the bystander: %v", err)
	}
	endOther()
	g.checkBounds()
	if median > max(slower*before, slowest) || pending > standstill {
		t.Errorf("the bystander has made %d round trips, median %v (%v before); the last one takes %v", trips, median, before, pending)
	}
	t.Logf("bystander: %d round trips of %v (%v before); the end took %v", trips, median, before, took.Round(time.Millisecond))
	if err := goleak.Find(alone); err != nil {
		t.Error(err)
	}
	g.showNotes()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := tcp.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve accepts the victim's connections. The first one meets the hostile server; later ones too, or an honest server if the row
// must recover.
func (g *game) serve(l net.Listener, good *handoff) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		n := g.conns.Add(1)
		if n > 1 && g.row.must == recovers {
			good.give(conn)
			continue
		}
		g.talks.Go(func() {
			stop := context.AfterFunc(g.over, func() { _ = conn.Close() })
			defer stop()
			g.play(conn.(*net.TCPConn), n == 1)
		})
	}
}

// waitForSteps waits until the steps of the first connection are done and the row's time is over.
func (g *game) waitForSteps() {
	began := time.Now()
	select {
	case err := <-g.played:
		g.checkSteps(err)
	case <-time.After(2 * testenv.Patience):
		g.t.Errorf("the server does not finish its steps")
		return
	}
	if g.row.must == repeats {
		<-time.After(repeatFor - time.Since(began)) // the time under test
	}
}

// checkSteps checks that the row has tested what its line says: its stage was reached and its own steps have begun.
func (g *game) checkSteps(err error) {
	n, stage, all := int(g.first.Load().done.Load()), len(g.row.stage), len(g.row.stage)+len(g.row.steps)
	if n < stage || err != nil && n == stage && all > stage+1 || err != nil && g.row.must == lives {
		g.t.Errorf("the server reached step %d of %d, of which %d are its stage: %v", n, all, stage, err)
	}
}

// judge checks the verdict of the row.
func (g *game) judge() {
	c := g.first.Load()
	switch g.row.must {
	case lives:
		if err := c.send([]byte("<to the application>")); err != nil {
			g.t.Errorf("the session is gone: %v", err)
			return
		}
		g.err(g.app.expect("<to the application>"))
		g.app.write([]byte("<to the device>"))
		g.err(c.await([]byte("<to the device>")))
		if n := g.conns.Load(); n > 1 {
			g.t.Errorf("there were %d connections", n)
		}
	case recovers:
		g.await("the next session", func() bool { return g.conns.Load() > 1 && g.victim.bridge.Status().Link == bridge.LinkUp })
		g.app.write([]byte("<there and back>"))
		g.err(g.app.expect("<there and back>"))
	}
}

func (g *game) err(err error) {
	if err != nil {
		g.t.Error(err)
	}
}

func (g *game) await(what string, cond func() bool) {
	for end := time.Now().Add(testenv.Patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Errorf("not within %v: %s", testenv.Patience, what)
			return
		}
	}
}

// checkBounds checks the bounds of every row.
func (g *game) checkBounds() {
	kept, peak := g.memory.grown()
	longest := g.victim.dials.most()
	lines, n, unordered, wrong := g.victim.log.all()
	status := g.victim.bridge.Status()
	if kept > keptMost {
		g.t.Errorf("memory: %d KiB kept, want at most %d", kept>>10, keptMost>>10)
	}
	if peak > peakMost {
		g.t.Errorf("memory: %d KiB at the peak, want at most %d", peak>>10, peakMost>>10)
	}
	if longest > openingMost {
		g.t.Errorf("an opening took %v", longest)
	}
	if n > linesMost {
		g.t.Errorf("log: %d lines, want at most %d", n, linesMost)
	}
	if unordered > 1 {
		g.t.Errorf("log: %d sessions were closed before they were finished, want at most 1", unordered)
	}
	for _, w := range wrong {
		g.t.Errorf("log: %s", w)
	}
	for _, text := range []string{status.Error, status.LastLoss.Cause} {
		if !printable(text) || len(text) > lineMost {
			g.t.Errorf("the status has %.1100q", text)
		}
	}
	for _, text := range status.Refused {
		if !printable(text) || len(text) > lineMost {
			g.t.Errorf("the status has %.1100q", text)
		}
	}
	g.t.Logf("the last loss: %q", status.LastLoss.Cause)
	g.t.Logf("%d connections, the longest opening took %v; %d KiB flooded, %d KiB kept, %d at the peak; %d log lines; %d sessions",
		g.conns.Load(), longest.Round(time.Millisecond), g.flooded.Load()>>10, kept>>10, peak>>10, n, status.Sessions)
	for _, line := range lines {
		g.note("log: %s", line)
	}
}

// showNotes logs the notes if the row has failed.
func (g *game) showNotes() {
	if !g.t.Failed() && !testing.Verbose() {
		return
	}
	for _, line := range g.notes {
		g.t.Log(line)
	}
}
