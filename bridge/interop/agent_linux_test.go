package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// agent is a running `telnetcpc attach`.
type agent struct {
	*process
	path string // the port
}

// attach starts an agent and waits until its port exists.
func attach(t *testing.T, url string, flags ...string) *agent {
	t.Helper()
	return attachBinary(t, testenv.Race, url, flags...)
}

func attachBinary(t *testing.T, race bool, url string, flags ...string) *agent {
	t.Helper()
	return attachThrough(t, race, func(cmd *exec.Cmd) *exec.Cmd { return cmd }, url, flags...)
}

// attachThrough runs the agent by the command that wrap returns.
func attachThrough(t *testing.T, race bool, wrap func(*exec.Cmd) *exec.Cmd, url string, flags ...string) *agent {
	t.Helper()
	program, err := binary(race)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{path: filepath.Join(t.TempDir(), "ttyV0")}
	args := append(append([]string{"attach", "--host", "pty"}, flags...), a.path, url)
	a.process = start(t, wrap(exec.Command(program, args...)))
	t.Cleanup(func() { a.stop(t) }) // runs before the cleanup of start, which kills the process
	eventually(t, "the port exists", func() bool {
		if a.ended() {
			t.Fatalf("telnetcpc %s ended: %v\n%s", strings.Join(args, " "), a.err, lastOf(a.out))
		}
		_, err := os.Stat(a.path)
		return err == nil
	})
	return a
}

// stop ends the agent as a service manager does, and checks that nothing of it is left.
func (a *agent) stop(t *testing.T) {
	t.Helper()
	early := a.ended()
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-a.done:
	case <-time.After(testenv.Patience):
		_ = a.cmd.Process.Signal(syscall.SIGQUIT) // prints its goroutines
		<-a.done
		t.Error("the agent does not end at SIGTERM")
	}
	log := a.out.String()
	switch {
	case strings.Contains(log, "WARNING: DATA RACE"):
		t.Error("the agent has a data race")
	case strings.Contains(log, "panic:"):
		t.Error("the agent panicked")
	case early:
		t.Errorf("the agent ended before the test did: %v", a.err)
	case a.err != nil:
		t.Errorf("the agent ended with %v, want 0 at SIGTERM", a.err)
	}
	if _, err := os.Lstat(a.path); err == nil {
		t.Error("the agent has left its port's path")
	}
}

// loss is what the agent logs when a session is lost.
type loss struct {
	unacked   int // -1: unknown
	sinceMark int // bytes after the last answered TIMING-MARK
	atMost    int // includes what the access server may have buffered before the mark
}

var lossPattern = regexp.MustCompile(`\bunacked=(-?\d+) since_mark=(\d+) lost_at_most=(\d+)\b`)

func (a *agent) losses(t *testing.T) []loss {
	t.Helper()
	var all []loss
	for line := range strings.Lines(a.out.String()) {
		m := lossPattern.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		var n [3]int
		for i := range n {
			var err error
			if n[i], err = strconv.Atoi(m[i+1]); err != nil {
				t.Fatalf("numbers of a loss: %q", line)
			}
		}
		all = append(all, loss{n[0], n[1], n[2]})
	}
	return all
}

// peakMemory returns the agent's peak resident memory in bytes.
func (a *agent) peakMemory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib * 1024
		}
	}
	t.Fatal("no VmHWM in /proc/PID/status")
	return 0
}
