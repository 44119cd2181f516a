package stormtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// round is the life of one agent, with its programs, remote and network.
type round struct {
	*testing.T
	host   Host
	seed   uint64
	ledger *ledger

	random    *rand.Rand // only the test's own goroutine uses it
	purges    bool       // programs may purge, and hang up
	slow      bool       // the line is slow, and programs write little
	dir       string
	telnetcpc string // path of the agent's program, for this round alone
	program   string // path of the storm's programs, likewise
	port, as  string
	paths     []string // by which programs open the port
	flags     []string // of the agent
	decoy     *decoy

	journal   *journal
	weather   *weather
	strangers *process
	agent     *process
	director  *process // the agent, if the agent starts it
	crowd     *crowd

	all    sync.WaitGroup  // goroutines that end with the context of blow
	broken context.Context // ends if the round cannot go on
	breaks context.CancelFunc

	mu       sync.Mutex // guards ending
	ending   bool       // the agent may end
	signalAt int64      // when the agent was asked to end; only the test's own goroutine uses it
}

// oneRound plays one round.
func oneRound(t *testing.T, h Host, l *ledger, seed uint64, lasts time.Duration) {
	l.round()
	r := &round{T: t, host: h, seed: seed, ledger: l, random: rand.New(rand.NewPCG(seed, 0))}
	t.Logf("seed %d, %v", seed, lasts.Round(time.Second))
	dir, err := os.MkdirTemp("", "storm")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if r.dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	r.prepare()
	defer r.decoy.close()
	defer r.journal.file.Close()
	defer r.weather.close()
	watching, stop := context.WithCancel(context.Background())
	r.broken, r.breaks = context.WithCancel(watching)
	r.begin()
	var watch sync.WaitGroup
	watch.Go(func() { r.watch(watching) })
	r.play(lasts)
	stop()
	watch.Wait()
	r.judge()
	r.keep(os.Getenv("TELNETCPC_STORM_KEEP"))
}

// keep saves the journal, the tapes and the agent's log in a directory, to be read by people.
func (r *round) keep(dir string) {
	if dir == "" {
		return
	}
	dir = filepath.Join(dir, fmt.Sprintf("%s-%d", r.host.Name, r.seed))
	_ = os.MkdirAll(dir, 0o755)
	_ = os.Rename(filepath.Join(r.dir, "journal"), filepath.Join(dir, "journal"))
	_ = os.Rename(r.agent.log, filepath.Join(dir, "agent.log"))
	var text strings.Builder
	r.weather.shelf.mu.Lock()
	defer r.weather.shelf.mu.Unlock()
	for i, t := range r.weather.shelf.tapes {
		fmt.Fprintf(&text, "%d session %d\n", t.opened, i)
		for _, x := range t.all {
			fmt.Fprintf(&text, "%d %v %q\n", x.at, x.event, x.data)
		}
	}
	_ = os.WriteFile(filepath.Join(dir, "tapes"), []byte(text.String()), 0o600)
}

// prepare makes the files, links, decoy, journal and remote of a round, and draws the agent's flags.
func (r *round) prepare() {
	r.purges, r.slow = r.random.IntN(3) == 0, r.random.IntN(4) == 0
	r.telnetcpc, r.program = filepath.Join(r.dir, "telnetcpc"), filepath.Join(r.dir, "storm")
	r.port, r.as = filepath.Join(r.dir, "dev", "ttyV0"), filepath.Join(r.dir, "as", "ttyS0")
	var err error
	must := func(e error) {
		if e != nil {
			r.Fatal(e)
		}
	}
	must(twin(r.host.Telnetcpc, r.telnetcpc))
	must(twin(r.host.Program, r.program))
	for _, d := range []string{"dev", "as", "links", "links/deep"} {
		must(os.Mkdir(filepath.Join(r.dir, d), 0o755))
	}
	in := func(name string) string { return filepath.Join(r.dir, name) }
	must(os.Symlink("../dev/ttyV0", in("links/modem")))
	must(os.Symlink("../modem", in("links/deep/chain")))
	must(os.Symlink(r.port, in("links/absolute")))
	must(os.Symlink("dev", in("linked")))
	r.paths = []string{r.port, r.port, in("links/modem"), in("links/deep/chain"), in("links/absolute"), in("linked/ttyV0"), in("links/../dev/./ttyV0")}
	r.decoy, err = newDecoy()
	must(err)
	if r.host.Starts {
		must(os.Symlink(r.decoy.name, r.as))
		must(os.Symlink("../as/ttyS0", in("links/com9")))
		must(os.Symlink("as", in("linkedas")))
		r.paths = append(r.paths, r.as, r.as, in("links/com9"), in("linkedas/ttyS0"))
	}
	r.journal, err = newJournal(in("journal"))
	must(err)
	r.weather = newWeather(r.T, r.seed)
	r.flags = []string{"--linger", []string{"0s", "200ms"}[r.random.IntN(2)], "--open-wait", []string{"20ms", "200ms", "2s"}[r.random.IntN(3)],
		"--hold-for", []string{"1s", "1s", "forever", "0s"}[r.random.IntN(4)], "--on-loss", []string{"hold", "hold", "hold", "discard"}[r.random.IntN(4)]}
	r.Logf("%s, purges %v, slow %v", strings.Join(r.flags, " "), r.purges, r.slow)
}

// begin starts the agent, the director and the strangers.
func (r *round) begin() {
	r.Helper()
	inherits := func(cmd *exec.Cmd) *exec.Cmd { // the journal, at the descriptor that programs expect
		cmd.ExtraFiles = make([]*os.File, journalAt-2)
		cmd.ExtraFiles[journalAt-3] = r.journal.file
		return cmd
	}
	direct := []string{r.program, "direct"}
	orders, reports := r.pipe(), r.pipe()
	lead := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Stdin, cmd.Stdout = orders[0], reports[1]
		return inherits(cmd)
	}
	agent := exec.Command(r.telnetcpc, r.host.Start(r.port, r.as, "rfc2217://"+r.weather.at, r.flags, direct)...)
	if r.host.Starts {
		r.agent = r.start("agent", lead(agent))
		r.director = r.agent
	} else {
		r.agent = r.start("agent", agent)
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(r.port); err == nil {
			break
		}
		if r.agent.ended() || time.Now().After(end) {
			r.Fatalf("the port does not exist: %s", r.agent.output())
		}
	}
	if r.director == nil {
		r.director = r.start("director", lead(exec.Command(direct[0], direct[1])))
	}
	_ = orders[0].Close()
	_ = reports[1].Close()
	r.strangers = r.start("strangers", inherits(exec.Command(r.program, "strangers")))
	r.crowd = newCrowd(r, orders[1], reports[0])
	r.Cleanup(func() {
		_ = orders[1].Close()
		_ = reports[0].Close()
	})
	select {
	case <-r.crowd.ready:
	case <-time.After(patience):
		r.Fatalf("the director does not start: %s", r.agent.output())
	}
}

// journalAt is JOURNAL of testdata/storm.h.
const journalAt = 100

func (r *round) pipe() [2]*os.File {
	a, b, err := os.Pipe()
	if err != nil {
		r.Fatal(err)
	}
	return [2]*os.File{a, b}
}

// blow runs the storm for a while, or until then returns. It ends early if the round is broken.
func (r *round) blow(d time.Duration, then func()) {
	ctx, cancel := context.WithTimeout(r.broken, d)
	defer cancel()
	weather := rand.New(rand.NewPCG(r.seed, r.random.Uint64()))
	r.all.Go(func() { r.weather.blow(ctx, weather) })
	r.all.Go(func() { r.crowd.live(ctx) })
	if r.host.Starts && r.random.IntN(2) == 0 {
		r.all.Go(func() { r.signals(ctx) })
	}
	if then != nil {
		then()
		cancel()
	}
	<-ctx.Done()
	r.all.Wait()
}

// signals sends the agent SIGURG, which Go's runtime also sends to itself, all the time. It must break nothing.
func (r *round) signals(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !r.agent.ended() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = r.agent.Process.Signal(unix.SIGURG)
		}
	}
}

// calm kills all programs and waits until the agent has no session. It reports whether the round can go on.
func (r *round) calm() bool {
	if r.broken.Err() != nil || !r.crowd.killAll() {
		return false
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		n := 0
		r.weather.each(func(*pair) { n++ })
		if n == 0 {
			return true
		}
		if time.Now().After(end) || r.broken.Err() != nil {
			r.ledger.breach(r.seed, callsReturn, "no program has the port open, and the session has not ended in %v", patience)
			return false
		}
	}
}

// onceMade is how many descriptors an agent may open on first use and keep. A descriptor that leaks with each open or session
// grows by more: each part of the storm has dozens of them.
const onceMade = 4

// play is the storm itself: twice, each followed by a calm, to measure growth, and once more until the agent's end.
func (r *round) play(lasts time.Duration) {
	r.blow(lasts*3/10, nil)
	quiet := r.calm()
	before := settled(r.agent.Process.Pid)
	if quiet {
		r.blow(lasts*5/10, nil)
		quiet = r.calm()
	}
	if quiet {
		after := settled(r.agent.Process.Pid)
		r.Logf("%v; later %v", before, after)
		if after.files > before.files+onceMade {
			r.ledger.breach(r.seed, sameFiles, "%v; later %v:%s", before, after, before.grown(after))
		}
		if after.memory > 2*before.memory+(32<<10) {
			r.ledger.breach(r.seed, sameMemory, "%v; later %v", before, after)
		}
		if after.threads > 2*before.threads+8 {
			r.ledger.breach(r.seed, sameThreads, "%v; later %v", before, after)
		}
		r.blow(lasts*2/10+patience, func() {
			nap(r.broken, lasts/10)
			r.end()
			nap(r.broken, max(lasts/10, 2*time.Second)) // programs that still run open the port again
		})
		r.checkReturned()
	} else {
		r.mu.Lock()
		r.ending = true
		r.mu.Unlock()
		_ = r.agent.Process.Signal(unix.SIGQUIT) // its stacks show where it hangs
		if !r.agent.within(patience) {
			_ = r.agent.Process.Kill()
		}
	}
	r.crowd.killAll()
	_ = r.crowd.orders.Close()
	r.checkLeftovers()
}

// nap sleeps until d is over or ctx ends.
func nap(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// end ends the agent, in a way that depends on the seed. If the agent starts the programs, it passes signals on to them.
func (r *round) end() {
	_ = r.strangers.Process.Signal(unix.SIGUSR1)
	nap(r.broken, 50*time.Millisecond)
	way := []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGKILL, unix.SIGHUP}[r.seed%4]
	if way == unix.SIGHUP && (r.host.Starts || signal.Ignored(unix.SIGHUP)) { // under nohup the agent ignores it too
		way = unix.SIGKILL
	}
	r.mu.Lock()
	r.ending, r.signalAt = true, nanos()
	r.mu.Unlock()
	r.Logf("the agent's end: %v", way)
	if r.host.Starts && way == unix.SIGTERM {
		_ = r.crowd.orders.Close() // the director ends, then the agent, once its programs have ended
		return
	}
	_ = r.agent.Process.Signal(way)
	if !r.agent.within(patience) {
		r.ledger.breach(r.seed, agentEnds, "it has not ended %v after %v", patience, way)
	} else if way != unix.SIGKILL && r.agent.err != nil {
		r.ledger.breach(r.seed, agentEnds, "%v: %v", way, r.agent.err)
	}
}
