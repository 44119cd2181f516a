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

// attach starts the agent and waits until its port is there.
func attach(t *testing.T, url string, flags ...string) *agent {
	t.Helper()
	return attachBinary(t, testenv.Race, url, flags...)
}

func attachBinary(t *testing.T, race bool, url string, flags ...string) *agent {
	t.Helper()
	return attachThrough(t, race, func(cmd *exec.Cmd) *exec.Cmd { return cmd }, url, flags...)
}

// attachThrough runs the agent by what wrap makes of its command.
func attachThrough(t *testing.T, race bool, wrap func(*exec.Cmd) *exec.Cmd, url string, flags ...string) *agent {
	t.Helper()
	program, err := binary(race)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{path: filepath.Join(t.TempDir(), "ttyV0")}
	args := append(append([]string{"attach", "--host", "pty"}, flags...), a.path, url)
	a.process = start(t, wrap(exec.Command(program, args...)))
	t.Cleanup(func() { a.stop(t) }) // before start's own, which only kills
	eventually(t, "the port exists", func() bool {
		if a.ended() {
			t.Fatalf("telnetcpc %s ended: %v\n%s", strings.Join(args, " "), a.err, lastOf(a.out))
		}
		_, err := os.Stat(a.path)
		return err == nil
	})
	return a
}

// stop ends the agent as a service manager does and looks at what it leaves.
func (a *agent) stop(t *testing.T) {
	t.Helper()
	early := a.ended()
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-a.done:
	case <-time.After(testenv.Patience):
		_ = a.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines, in the output
		<-a.done
		t.Error("the agent does not end at SIGTERM")
	}
	said := a.out.String()
	switch {
	case strings.Contains(said, "WARNING: DATA RACE"):
		t.Error("the agent has a data race")
	case strings.Contains(said, "panic:"):
		t.Error("the agent panicked")
	case early:
		t.Errorf("the agent ended before the test did: %v", a.err)
	case a.err != nil:
		t.Errorf("the agent ended with %v, want 0 at SIGTERM", a.err)
	}
	if _, err := os.Lstat(a.path); err == nil {
		t.Error("the agent left its port's path behind")
	}
}

// loss is what the agent says when a session is lost.
type loss struct {
	unacked   int // -1: it does not know
	sinceMark int
	atMost    int // what the access server may have held before the mark counts too
}

var lossPattern = regexp.MustCompile(`\bunacked=(-?\d+) since_mark=(\d+) lost_at_most=(\d+)\b`)

func (a *agent) losses(t *testing.T) []loss {
	t.Helper()
	var all []loss
	for row := range strings.Lines(a.out.String()) {
		m := lossPattern.FindStringSubmatch(row)
		if m == nil {
			continue
		}
		var n [3]int
		for i := range n {
			var err error
			if n[i], err = strconv.Atoi(m[i+1]); err != nil {
				t.Fatalf("numbers of a loss: %q", row)
			}
		}
		all = append(all, loss{n[0], n[1], n[2]})
	}
	return all
}

// peakMemory is the most that the agent ever had resident, in bytes.
func (a *agent) peakMemory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for row := range strings.Lines(string(status)) {
		var kib int
		if _, err := fmt.Sscanf(row, "VmHWM: %d kB", &kib); err == nil {
			return kib * 1024
		}
	}
	t.Fatal("no VmHWM in /proc/PID/status")
	return 0
}
