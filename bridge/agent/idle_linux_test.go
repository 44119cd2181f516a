package agent_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge"
	"telnetcpc/bridge/agent"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/testenv"
	"telnetcpc/ptyhost"
)

const (
	// idlePorts is how many ports the test makes, if the limits of this machine allow it.
	idlePorts = 1000
	// perPort is more than the descriptors that a port with its session has.
	perPort = 10
	// patience is how long the test waits for all sessions, on a busy machine and under the race detector.
	patience = 2 * time.Minute
	// farEnd in the environment makes this program the access server.
	farEnd = "TELNETCPC_TEST_FAR_END"
)

func TestMain(m *testing.M) {
	if os.Getenv(farEnd) != "" {
		serveFarEnd()
		return
	}
	os.Exit(m.Run())
}

// serveFarEnd is an access server without devices: it agrees to COM-PORT-OPTION and discards everything. It is a separate
// process, so that its memory is not counted as the agent's. It ends with its standard input.
func serveFarEnd() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	go func() { // ends with the process
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the client
				defer c.Close()
				_, _ = c.Write([]byte("\xff\xfd\x2c")) // DO COM-PORT-OPTION
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// startFarEnd returns the address of a far end that lives as long as the test.
func startFarEnd(t *testing.T) string {
	t.Helper()
	far := exec.Command(os.Args[0])
	far.Env = append(os.Environ(), farEnd+"=1")
	far.Stderr = os.Stderr
	in, err := far.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := far.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := far.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = far.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// usage is what this process uses.
type usage struct {
	pss     int // bytes
	threads int
	inotify int // instances
}

func used(t *testing.T) usage {
	t.Helper()
	for range 3 { // each halves the stacks that are larger than necessary, as they are after the start
		runtime.GC()
	}
	debug.FreeOSMemory()
	u := usage{pss: number(t, "/proc/self/smaps_rollup", "Pss:") << 10, threads: number(t, "/proc/self/status", "Threads:")}
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if to, _ := os.Readlink("/proc/self/fd/" + d.Name()); to == "anon_inode:inotify" {
			u.inotify++
		}
	}
	return u
}

// number returns the number after a word in a file of /proc.
func number(t *testing.T, path, word string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == word {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s: no %s", path, word)
	return 0
}

// cpuTime is the CPU time that this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// limited is how many ports the limits of this machine allow.
func limited(t *testing.T) int {
	t.Helper()
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/sys/kernel/pty/max")
	if err != nil {
		t.Fatal(err)
	}
	ptys, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	want := idlePorts
	if testenv.Race {
		want /= 5 // it is slow, and its memory is not limited
	}
	n := min(want, int(files.Cur)/perPort, ptys/2)
	if n < want {
		t.Logf("%d ports instead of %d: %d open files and %d ptys are allowed here", n, want, files.Cur, ptys)
	}
	return n
}

// An idle port with its session costs a bounded amount of memory, no thread, no inotify instance, and almost no CPU time.
// The bounds are far above the measured figures, which are logged, so that noise cannot exceed them.
func TestIdlePorts(t *testing.T) {
	n := limited(t)
	address := startFarEnd(t)
	at, err := remote.Parse("rfc2217://" + address)
	if err != nil {
		t.Fatal(err)
	}
	before := used(t)
	bridges := runPorts(t, n, at)
	settled(t, bridges)
	after := used(t)
	each := (after.pss - before.pss) / n
	t.Logf("%d idle ports: %d bytes each, %d threads more", n, each, after.threads-before.threads)
	if each > 32<<10 && !testenv.Race { // the race detector keeps a shadow of all memory
		t.Errorf("an idle port uses %d bytes, want 32768 at most", each)
	}
	if more := after.threads - before.threads; more > max(32, n/10) { // the runtime starts some for system calls that block
		t.Errorf("%d threads more than without ports, want none per port", more)
	}
	if after.inotify != 1 {
		t.Errorf("%d inotify instances, want 1 for all ports", after.inotify)
	}
	if share := idleShare(t); share > 0.05 && !testenv.Race {
		t.Errorf("idle ports use %.2f %% of a core, want 5 at most", 100*share)
	}
}

// runPorts runs n ports until the test ends, each with a session.
func runPorts(t *testing.T, n int, at remote.URL) []*bridge.Bridge {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(cancel)
	log := slog.New(slog.DiscardHandler)
	bridges := make([]*bridge.Bridge, n)
	for i := range bridges {
		b, err := agent.NewBridge(agent.Port{
			Path: filepath.Join(dir, "tty"+strconv.Itoa(i)), Remote: at, Host: ptyhost.New(),
			Policy: bridge.Policy{Connect: bridge.ConnectAlways}, AckTimeout: 100 * time.Millisecond,
		}, log)
		if err != nil {
			t.Fatal(err)
		}
		bridges[i] = b
		all.Go(func() {
			if err := b.Run(ctx); err != nil {
				t.Errorf("port %d: %v", i, err)
			}
		})
	}
	return bridges
}

// settled waits until every session is up and has stopped waiting for answers, which this far end never gives.
func settled(t *testing.T, bridges []*bridge.Bridge) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		quiet := 0
		for _, b := range bridges {
			if s := b.Status(); s.Link == bridge.LinkUp && len(s.Refused) > 0 {
				quiet++
			}
		}
		if quiet == len(bridges) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d sessions are up and idle after %v", quiet, len(bridges), patience)
		}
	}
}

// idleShare measures what share of a core this process uses, in windows of two seconds, until one is as quiet as wanted or
// the tenth has ended: the work of the start takes time to settle.
func idleShare(t *testing.T) float64 {
	t.Helper()
	const window = 2 * time.Second
	least := 1.0
	for range 10 {
		cpu, begun := cpuTime(t), time.Now()
		time.Sleep(window)
		least = min(least, (cpuTime(t)-cpu).Seconds()/time.Since(begun).Seconds())
		if least < 0.005 {
			break
		}
	}
	t.Logf("idle: %.2f %% of a core", 100*least)
	return least
}
