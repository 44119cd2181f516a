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

// The bounds. What a machine's load can move is generous; what it cannot move is not.
const (
	// keptMost is a session's 1 MiB, and what the row itself needs beside it: its server's buffer and what it has heard
	// (some 100 KiB), the application's queue each way (80 KiB), lines of the log, an honest server's session.
	keptMost = 1<<20 + 512<<10
	// peakMost is what the system may have lent for it: the collector lets garbage grow to 4 MiB before it looks, and the
	// heap grows in steps of as many.
	peakMost = 24 << 20
	// openingMost is 10 s, and 20 for a machine that is busy.
	openingMost = 30 * time.Second
	// endMost is 15 s, and as many for a machine that is busy.
	endMost = 30 * time.Second
	// linesMost is what the server may cause in a minute: six lines, six that tell of losses, and those of the start and the
	// end. No row lasts longer.
	linesMost = 16
	// repeatFor is how long a row of many connections lasts.
	repeatFor = 25 * time.Second
	// tripsBefore is how many round trips say how fast the bystander is, and how many it makes at least during the row; slower is how many times that a median during the
	// row may be, and slowest what it may be in any case: that much no load makes of it.
	tripsBefore, slower, slowest = 40, 50, 500 * time.Millisecond
	// standstill is how long one round trip may take.
	standstill = 20 * time.Second
)

// game is one row being played.
type game struct {
	t     *testing.T
	table *table
	row   row

	memory *memory
	app    *application
	victim *side
	over   context.Context // the row's end: the server lets go
	finish context.CancelFunc

	blocks  map[string][]byte // of floods: made before memory is looked at
	first   atomic.Pointer[talk]
	played  chan error // the first connection's steps are done
	talks   sync.WaitGroup
	conns   atomic.Int64
	flooded atomic.Int64
	numbers atomic.Int64

	mu   sync.Mutex
	said []string // for a failure
}

func slogTo(l *logbook) *slog.Logger { return slog.New(l) }

// tell keeps what is to be read when the row fails.
func (g *game) tell(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.said) < linesKept {
		g.said = append(g.said, sprintf(format, args...))
	}
}

func (g *game) look() { g.memory.look() }

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
	g.steps()
	g.judge()
	g.look()
	g.await("the bystander's round trips go on", func() bool { return by.done() >= from+tripsBefore })
	median, pending, trips := by.since(from)

	took, err := g.victim.end()
	if err != nil || took > endMost {
		t.Errorf("Run returns after %v: %v", took, err)
	}
	close(watched)
	g.app.over()
	g.finish()
	_ = l.Close()
	g.talks.Wait()
	endGood()

	if err := by.leave(); err != nil {
		t.Errorf("the bystander: %v", err)
	}
	endOther()
	g.bounds()
	if median > max(slower*before, slowest) || pending > standstill {
		t.Errorf("the bystander has made %d round trips, of %v in the median (%v before), and the last takes %v", trips, median, before, pending)
	}
	t.Logf("bystander: %d round trips of %v (%v before); the end took %v", trips, median, before, took.Round(time.Millisecond))
	if err := goleak.Find(alone); err != nil {
		t.Error(err)
	}
	g.retell()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := tcp.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve accepts the victim's connections: the first is played with, the others too or they get an honest server.
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

// steps waits until the first connection's steps are done, and the row's time is over.
func (g *game) steps() {
	began := time.Now()
	select {
	case err := <-g.played:
		g.met(err)
	case <-time.After(2 * testenv.Patience):
		g.t.Errorf("the server does not come to the end of its steps")
		return
	}
	if g.row.must == repeats {
		<-time.After(repeatFor - time.Since(began)) // they are the row
	}
}

// met checks that the row is what its line says: its stage was reached, and its own steps were begun.
func (g *game) met(err error) {
	n, stage, all := int(g.first.Load().done.Load()), len(g.row.stage), len(g.row.stage)+len(g.row.steps)
	if n < stage || err != nil && n == stage && all > stage+1 || err != nil && g.row.must == lives {
		g.t.Errorf("the server came to step %d of %d, its stage has %d: %v", n, all, stage, err)
	}
}

// judge waits for what must come of it.
func (g *game) judge() {
	c := g.first.Load()
	switch g.row.must {
	case lives:
		if err := c.say([]byte("<to the application>")); err != nil {
			g.t.Errorf("the session is gone: %v", err)
			return
		}
		g.err(g.app.gets("<to the application>"))
		g.app.writes([]byte("<to the device>"))
		g.err(c.await([]byte("<to the device>")))
		if n := g.conns.Load(); n > 1 {
			g.t.Errorf("there were %d connections", n)
		}
	case recovers:
		g.await("the next session", func() bool { return g.conns.Load() > 1 && g.victim.bridge.Status().Link == bridge.LinkUp })
		g.app.writes([]byte("<there and back>"))
		g.err(g.app.gets("<there and back>"))
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
			g.t.Errorf("in %v it has not come to be: %s", testenv.Patience, what)
			return
		}
	}
}

// bounds are those of every row.
func (g *game) bounds() {
	kept, peak := g.memory.grown()
	longest := g.victim.dials.most()
	lines, n, unordered, wrong := g.victim.log.all()
	status := g.victim.bridge.Status()
	if kept > keptMost {
		g.t.Errorf("memory: %d KiB kept, %d are the most", kept>>10, keptMost>>10)
	}
	if peak > peakMost {
		g.t.Errorf("memory: %d KiB taken at the peak, %d are the most", peak>>10, peakMost>>10)
	}
	if longest > openingMost {
		g.t.Errorf("an opening took %v", longest)
	}
	if n > linesMost {
		g.t.Errorf("log: %d lines, %d are the most", n, linesMost)
	}
	if unordered > 1 {
		g.t.Errorf("log: %d sessions were closed before they were finished, 1 is the most", unordered)
	}
	for _, w := range wrong {
		g.t.Errorf("log: %s", w)
	}
	for _, text := range []string{status.Error, status.LastLoss.Cause} {
		if !printable(text) || len(text) > lineMost {
			g.t.Errorf("status says %.1100q", text)
		}
	}
	for _, text := range status.Refused {
		if !printable(text) || len(text) > lineMost {
			g.t.Errorf("status says %.1100q", text)
		}
	}
	g.t.Logf("the last loss: %q", status.LastLoss.Cause)
	g.t.Logf("%d connections, the longest opening took %v; %d KiB flooded, %d KiB kept, %d at the peak; %d log lines; %d sessions",
		g.conns.Load(), longest.Round(time.Millisecond), g.flooded.Load()>>10, kept>>10, peak>>10, n, status.Sessions)
	for _, line := range lines {
		g.tell("log: %s", line)
	}
}

// retell says what happened, where something is wrong.
func (g *game) retell() {
	if !g.t.Failed() && !testing.Verbose() {
		return
	}
	for _, line := range g.said {
		g.t.Log(line)
	}
}
