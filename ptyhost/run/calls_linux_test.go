//go:build amd64 || arm64

package run_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// Calls under signals, stops and killed supervisors; the program is testdata/calls.c.

func compileCalls(t *testing.T) string {
	t.Helper()
	return compile(t, "gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "testdata/calls.c")
}

// repetitions returns how often a test does something: usual, or the value of an environment variable.
func repetitions(t *testing.T, variable string, usual int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// threadIDs returns the threads of a process.
func threadIDs(pid int) (tids []int) {
	names, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, name := range names {
		if tid, err := strconv.Atoi(name.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids
}

// signalStorm sends a signal to all threads of a process until stop is called, which returns how many it has sent.
func signalStorm(pid int, signal syscall.Signal) (stop func() int) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	sent := 0
	wg.Go(func() {
		for {
			for _, tid := range threadIDs(pid) {
				if unix.Tgkill(pid, tid, signal) == nil {
					sent++
				}
			}
			select {
			case <-done:
				return
			case <-time.After(20 * time.Microsecond):
			}
		}
	})
	return func() int {
		close(done)
		wg.Wait()
		return sent
	}
}

// childNamed returns a child of telnetcpc by its command line.
func childNamed(t *testing.T, pid int, name string) int {
	t.Helper()
	for _, tid := range threadIDs(pid) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, tid))
		for _, field := range strings.Fields(string(text)) {
			line, _ := os.ReadFile("/proc/" + field + "/cmdline")
			if n, err := strconv.Atoi(field); err == nil && strings.Contains(string(line), name) {
				return n
			}
		}
	}
	t.Fatalf("%d has no child %s", pid, name)
	return 0
}

// TestOpensUnderSignals: every open gets a descriptor of its own while signals rain on telnetcpc and its injector, with
// a session and while the remote is away. TELNETCPC_RUN_OPENS is the number of opens.
func TestOpensUnderSignals(t *testing.T) {
	program := compileCalls(t)
	n := repetitions(t, "TELNETCPC_RUN_OPENS", 1500)
	for _, remote := range []string{"here", "away"} {
		t.Run(remote, func(t *testing.T) {
			address := "rfc2217://127.0.0.1:1"
			if remote == "here" {
				address, _ = startServer(t, "loopback")
			}
			t.Setenv("GOGC", "1")
			s := startTelnetcpc(t, "ready\n", "--open-wait", "1ms", "--as", "/dev/ttyS77", address, "--", program, "/dev/ttyS77", "opens", strconv.Itoa(n))
			stop := signalStorm(s.Process.Pid, unix.SIGURG)
			stopOther := signalStorm(childNamed(t, s.Process.Pid, "telnetcpc: injector"), unix.SIGURG)
			status := s.waitExitWithin(t, testenv.Patience+time.Duration(n)*5*time.Millisecond)
			t.Logf("%d and %d signals: %s", stop(), stopOther(), s.out.String())
			if status != 0 || !strings.HasSuffix(s.out.String(), "ok\n") {
				t.Errorf("status %d: %s\n%s", status, s.out.String(), s.errs.String())
			}
		})
	}
}

// TestInterruptedCalls: what a signal to the program does to its calls.
func TestInterruptedCalls(t *testing.T) {
	t.Parallel()
	program := compileCalls(t)
	for _, tt := range []struct {
		what    string
		n, wait string
		count   map[string]int // of log lines
	}{
		// Few enough that all events have room in the queue, should the bridge not run in the meantime.
		{"restarts", "60", "20ms", map[string]int{"up   settings RTS off\n": 60, "up   settings RTS on\n": 60, "up   purge tx\n": 60}},
		{"interrupted", "2000", "20ms", nil},
		{"memory", "2000", "20ms", map[string]int{"settings 50 ": 0}},
		{"breaks", "3", "20ms", map[string]int{"up   settings break on\n": 4, "up   settings break off\n": 4}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			address, _ := startServer(t, "loopback")
			out, errs, status := runTelnetcpc(t, "-v", "--open-wait", tt.wait, "--as", "/dev/ttyS77", address, "--", program, "/dev/ttyS77", tt.what, tt.n)
			t.Log(out)
			if status != 0 || !strings.HasSuffix(out, "ok\n") {
				t.Errorf("status %d: %s\n%s", status, out, errs)
			}
			for line, want := range tt.count {
				if got := strings.Count(errs, line); got != want {
					t.Errorf("%q is logged %d times, want %d\n%s", line, got, want, errs)
				}
			}
		})
	}
}

// startWaiting starts a program of which ten threads wait for a modem line and, if what is "waits", one more for a
// drain.
func startWaiting(t *testing.T, what string) (s *startedRun, program int, goOn io.Closer) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	t.Cleanup(func() { _ = w.Close() })
	file := compileCalls(t)
	address, _ := startServer(t, "loopback")
	s = startTelnetcpcStdin(t, r, "ready\n", "--as", "/dev/ttyS77", address, "--", file, "/dev/ttyS77", what, "10")
	return s, childNamed(t, s.Process.Pid, file), w
}

// finishWaiting makes such a program finish, whose calls must not have noticed anything.
func finishWaiting(t *testing.T, s *startedRun, w io.Closer) {
	t.Helper()
	_ = w.Close()
	status := s.waitExit(t)
	if out := s.out.String(); status != 0 || strings.Count(out, "a line has changed\n") != 10 || strings.Contains(out, ": ") {
		t.Errorf("status %d: %s", status, out)
	}
}

// TestStoppedWhileWaiting: a program that waits in calls can be stopped, traced and frozen, and then continues to wait.
func TestStoppedWhileWaiting(t *testing.T) {
	t.Parallel()
	t.Run("SIGSTOP", func(t *testing.T) {
		t.Parallel()
		s, pid, w := startWaiting(t, "waits")
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		eventually(t, "it is stopped", func() bool { return state(pid) == "T" })
		_ = syscall.Kill(pid, syscall.SIGCONT)
		finishWaiting(t, s, w)
	})
	t.Run("strace", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.LookPath("strace"); err != nil {
			skip(t, "strace is not here (scripts/test installs it on Debian)")
		}
		s, pid, w := startWaiting(t, "waits")
		trace := filepath.Join(scratchDir(t), "trace")
		cmd := exec.Command("strace", "-f", "-o", trace, "-p", strconv.Itoa(pid))
		errs, err := cmd.StderrPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, errs) }() // ends with strace
		attached := func() bool {
			for _, tid := range threadIDs(pid) {
				text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
				if strings.Contains(string(text), "TracerPid:\t0\n") {
					return false
				}
			}
			text, _ := os.ReadFile(trace)
			return strings.Count(string(text), "TIOCMIWAIT") >= 10
		}
		eventually(t, "strace shows the calls that wait", attached)
		finishWaiting(t, s, w)
		if err := cmd.Wait(); err != nil {
			t.Errorf("strace: %v", err)
		}
	})
	t.Run("freezer", func(t *testing.T) {
		t.Parallel()
		s, pid, w := startWaiting(t, "waits")
		freeze, frozen, thaw := freezer(t, pid)
		freeze()
		eventually(t, "it is frozen", frozen)
		thaw()
		eventually(t, "it is thawed", func() bool { return !frozen() })
		finishWaiting(t, s, w)
	})
}

// state returns a process's state as ps shows it.
func state(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(text), ") ")
	state, _, _ := strings.Cut(after, " ")
	return state
}

// freezer makes a control group that can be frozen, with a process in it.
func freezer(t *testing.T, pid int) (freeze func(), frozen func() bool, thaw func()) {
	t.Helper()
	put := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	var last error
	for _, tt := range []struct{ root, file, on, off, look, is string }{
		{"/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED", "freezer.state", "FROZEN"},
		{"/sys/fs/cgroup", "cgroup.freeze", "1", "0", "cgroup.events", "frozen 1"},
		{"/sys/fs/cgroup/unified", "cgroup.freeze", "1", "0", "cgroup.events", "frozen 1"},
	} {
		dir := filepath.Join(tt.root, fmt.Sprintf("telnetcpc-test-%d", pid))
		if last = os.Mkdir(dir, 0o755); last != nil {
			continue
		}
		if _, last = os.Stat(filepath.Join(dir, tt.file)); last != nil {
			_ = os.Remove(dir)
			continue
		}
		thaw = func() { put(filepath.Join(dir, tt.file), tt.off) }
		t.Cleanup(func() {
			_ = os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.off), 0)
			_ = syscall.Kill(pid, syscall.SIGKILL)
			eventually(t, "the control group is gone", func() bool { return os.Remove(dir) == nil })
		})
		put(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid))
		return func() { put(filepath.Join(dir, tt.file), tt.on) }, func() bool {
			text, _ := os.ReadFile(filepath.Join(dir, tt.look))
			return strings.Contains(string(text), tt.is)
		}, thaw
	}
	skip(t, fmt.Sprintf("no control group with a freezer can be made here: %v", last))
	return nil, nil, nil
}

// cpuTime returns the processor time that a process has used.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	sum := time.Duration(0)
	for _, tid := range threadIDs(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, tid))
		if errors.Is(err, fs.ErrNotExist) {
			skip(t, "this kernel does not account the time of threads (CONFIG_SCHED_INFO)")
		}
		var ns int64 // followed by the time it waited, and how often it ran
		if _, err := fmt.Sscan(string(text), &ns); err == nil {
			sum += time.Duration(ns)
		}
	}
	return sum
}

// TestWaitingCostsNothing: a program with ten calls that wait takes telnetcpc less than a hundredth of a processor.
func TestWaitingCostsNothing(t *testing.T) {
	s, _, w := startWaiting(t, "lines")
	const span = 3 * time.Second
	before, began := cpuTime(t, s.Process.Pid), time.Now()
	time.Sleep(span)
	cost, passed := cpuTime(t, s.Process.Pid)-before, time.Since(began)
	t.Logf("%v in %v: %.2f %%", cost, passed, 100*float64(cost)/float64(passed))
	if cost > passed/100 {
		t.Errorf("ten threads that wait cost %v in %v, want less than a hundredth", cost, passed)
	}
	finishWaiting(t, s, w)
}

// TestBusyAgentKilled: threads that make calls all the time continue when telnetcpc is killed, whatever it was doing.
// TELNETCPC_RUN_KILLS is the number of kills.
func TestBusyAgentKilled(t *testing.T) {
	killRepeatedly(t, 12, "outlives", "4")
}

// TestAgentKilledAtOpens: every open returns a descriptor of its own, or fails, whatever telnetcpc was doing when it
// was killed. TELNETCPC_RUN_KILLS is the number of kills.
func TestAgentKilledAtOpens(t *testing.T) {
	killRepeatedly(t, 40, "reopens", "2")
}

// killRepeatedly kills telnetcpc again and again, each time with another program, which must report success.
func killRepeatedly(t *testing.T, usual int, does ...string) {
	t.Helper()
	program := compileCalls(t)
	address, _ := startServer(t, "loopback")
	wrong, n := 0, repetitions(t, "TELNETCPC_RUN_KILLS", usual)
	for i := range n {
		args := append([]string{"--open-wait", "0s", "--as", "/dev/ttyS77", address, "--", program, "/dev/ttyS77"}, does...)
		s := startTelnetcpc(t, "ready\n", args...)
		pid, injector := childNamed(t, s.Process.Pid, program), childNamed(t, s.Process.Pid, "telnetcpc: injector")
		time.Sleep(time.Duration(i%17) * 300 * time.Microsecond) // no synchronisation: a different moment each time
		if err := s.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		over := time.AfterFunc(20*time.Second, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		_ = s.Wait() // for its output, which the program inherits
		if !over.Stop() {
			t.Fatalf("kill %d: a thread is stuck: %s", i, s.out.String())
		}
		if !strings.HasSuffix(s.out.String(), "ok\n") {
			wrong++
			t.Errorf("kill %d: %s", i, s.out.String())
		}
		eventually(t, "the injector has ended", func() bool { return state(injector) == "" || state(injector) == "Z" })
	}
	t.Logf("%d of %d kills were noticed by the program", wrong, n)
}

// TestInterruptedOpenIsOne: an open that waits for its session, and is interrupted and restarted meanwhile, is one open.
func TestInterruptedOpenIsOne(t *testing.T) {
	t.Parallel()
	program := compileCalls(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and sends nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	out, errs, status := runTelnetcpc(t, "-v", "--open-wait", "500ms", "--as", "/dev/ttyS77", silent.Addr().String(), "--", program, "/dev/ttyS77", "held")
	if status != 0 || !strings.HasSuffix(out, "ok\n") {
		t.Errorf("status %d: %s", status, out)
	}
	if opened, closed := strings.Count(errs, "up   opened\n"), strings.Count(errs, "up   closed\n"); opened != 1 || closed != 1 {
		t.Errorf("%d opens and %d closes were logged, want one each:\n%s", opened, closed, errs)
	}
}
