//go:build amd64 || arm64

package run_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart/uarttest"
)

// started is a telnetcpc run that a test has to do with while it runs.
type started struct {
	*exec.Cmd
	out, errs uarttest.Output
}

// starts starts telnetcpc run as nobody, in a process group of its own, and waits for what its program says.
func starts(t *testing.T, ready string, args ...string) *started {
	t.Helper()
	return startsWith(t, nil, ready, args...)
}

// startsWith is starts with a standard input.
func startsWith(t *testing.T, stdin io.Reader, ready string, args ...string) *started {
	t.Helper()
	s := &started{Cmd: unprivileged(exec.Command(telnetcpc, append([]string{"run"}, args...)...))}
	s.Stdin = stdin
	if s.SysProcAttr == nil {
		s.SysProcAttr = &syscall.SysProcAttr{}
	}
	s.SysProcAttr.Setpgid = true
	s.Stdout, s.Stderr = &s.out, &s.errs
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL)
		_ = s.Wait()
		if t.Failed() {
			t.Logf("said: %s\n%s", s.out.String(), s.errs.String())
		}
	})
	eventually(t, "it says "+ready, func() bool { return strings.Contains(s.out.String(), ready) })
	return s
}

// ends waits for its end and returns its status.
func (s *started) ends(t *testing.T) int {
	t.Helper()
	return s.endsWithin(t, testenv.Patience)
}

func (s *started) endsWithin(t *testing.T, patience time.Duration) int {
	t.Helper()
	over := time.AfterFunc(patience, func() { _ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL) })
	_ = s.Wait()
	if !over.Stop() {
		t.Errorf("it has not ended in %v", patience)
	}
	return s.ProcessState.ExitCode()
}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return err != nil
}

// counts is a program that says which signals it gets, until its standard input ends.
const counts = `
import os, signal, sys
def got(number, frame):
    os.write(1, b"got %d\n" % number)
for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(s, got)
os.write(1, b"ready\n")
sys.stdin.readline()
`

// TestSignals: what telnetcpc gets alone goes on to the program; what the whole process group gets, as from a terminal, the
// program has got already. It comes once either way.
func TestSignals(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, "loopback")
	for _, tt := range []struct {
		name  string
		group bool
	}{{"alone", false}, {"the group", true}} {
		t.Run(tt.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			s := startsWith(t, r, "ready\n", address, "--", "/usr/bin/python3", "-c", counts)
			_ = r.Close()
			want := ""
			for _, sent := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
				if signal.Ignored(sent) {
					continue // nohup: so does telnetcpc
				}
				to := s.Process.Pid
				if tt.group {
					to = -to
				}
				if err := syscall.Kill(to, sent); err != nil {
					t.Fatal(err)
				}
				want += fmt.Sprintf("got %d\n", int(sent))
				eventually(t, "the program gets it", func() bool { return strings.HasSuffix(s.out.String(), want) })
			}
			// A second one, if telnetcpc passed it on wrongly, comes after the standby's patience; it is no error of the
			// test where this is too short for it.
			time.Sleep(300 * time.Millisecond)
			_ = w.Close()
			if status := s.ends(t); status != 0 || s.out.String() != "ready\n"+want {
				t.Errorf("status %d: %q", status, s.out.String())
			}
		})
	}
}

// TestProgramKilled: its status says so, and nothing is left.
func TestProgramKilled(t *testing.T) {
	address, _ := serve(t, "loopback")
	path := filepath.Join(own(t), "ttyV0")
	_, errs, status := runs(t, "--port", path, address, "--", "sh", "-c", `exec 3<>"$TELNETCPC_PORT"; kill -9 $$`)
	if status != 128+9 {
		t.Errorf("status %d: %s", status, errs)
	}
	if left, _ := filepath.Glob(filepath.Dir(path) + "/.*"); len(left) > 0 || !gone(path) {
		t.Errorf("left behind: %v", left)
	}
}

// TestAgentKilled: the program sees its port hang up, a call that waits too, and everything else goes on.
func TestAgentKilled(t *testing.T) {
	t.Parallel()
	program := compile(t, "gcc", "-pthread", "testdata/port.c")
	address, _ := serve(t, "loopback")
	s := starts(t, "ready", "--as", "/dev/ttyS77", address, "--", program, "/dev/ttyS77", "survives")
	if err := s.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the program has ended", func() bool { return strings.Count(s.out.String(), "\n") == 2 })
	if !strings.HasSuffix(s.out.String(), "\nok\n") {
		t.Errorf("the program says: %s", s.out.String())
	}
}

// TestLeftBehind: what the program has started keeps its port, whole, until it has ended.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	address, server := serve(t, "loopback")
	_, errs, status := runs(t, address, "--", "sh", "-c",
		`exec 3<>"$TELNETCPC_PORT"; (sleep 0.5; stty 300 cs7 parenb <&3; echo late >&3; sleep 0.1) & exit 3`)
	if status != 3 {
		t.Errorf("status %d: %s", status, errs)
	}
	says(t, server, `coding="300 7E1"`, "up=5")
}

// TestDaemon: one that forks before it opens the port has a second to do so.
func TestDaemon(t *testing.T) {
	t.Parallel()
	address, server := serve(t, "loopback")
	_, errs, status := runs(t, address, "--", "sh", "-c", `(sleep 0.3; echo late >"$TELNETCPC_PORT") & exit 3`)
	if status != 3 {
		t.Errorf("status %d: %s", status, errs)
	}
	says(t, server, "up=5")
}

// TestBytesOfShortProgram: a program may be gone before the session stands.
func TestBytesOfShortProgram(t *testing.T) {
	address, server := serve(t, "loopback")
	_, errs, status := runs(t, "--open-wait", "0s", address, "--", "sh", "-c", `echo hello >"$TELNETCPC_PORT"`)
	if status != 0 {
		t.Errorf("status %d: %s", status, errs)
	}
	says(t, server, "up=6")
}

// TestSignalsWithoutGroup: a program that has left the process group gets what was sent to that from telnetcpc.
func TestSignalsWithoutGroup(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, "loopback")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := startsWith(t, r, "ready\n", address, "--", "/usr/bin/python3", "-c", "import os; os.setpgid(0, 0)"+counts)
	_ = r.Close()
	if err := syscall.Kill(-s.Process.Pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("got %d\n", int(syscall.SIGUSR1))
	eventually(t, "the program gets it", func() bool { return strings.HasSuffix(s.out.String(), want) })
	_ = w.Close()
	if status := s.ends(t); status != 0 || s.out.String() != "ready\n"+want {
		t.Errorf("status %d: %q", status, s.out.String())
	}
}

// TestGuardKeepsNothing: the standby has neither a descriptor that was inherited nor a directory: who waits for the end of a
// pipe, or wants to unmount, waits for the programs alone.
func TestGuardKeepsNothing(t *testing.T) {
	address, _ := serve(t, "loopback")
	inherited, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	r, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer input.Close()
	s := &started{Cmd: unprivileged(exec.Command(telnetcpc, "run", address, "--", "sh", "-c", "exec 3>&- 4>&- 5>&- 6>&-; echo ready; read line"))}
	s.Stdin, s.Stdout, s.Stderr, s.ExtraFiles = r, &s.out, &s.errs, []*os.File{w, w, w, w}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	t.Cleanup(func() { _ = s.Process.Kill(); _ = s.Wait() })
	eventually(t, "it says ready", func() bool { return s.out.String() == "ready\n" })
	standby := child(t, s.Process.Pid, "telnetcpc: standby")
	if at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", standby)); err != nil || at != "/" {
		t.Errorf("the standby's directory is %s, %v", at, err)
	}
	pipe, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", inherited.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", standby))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", standby, name.Name())); to == pipe {
			t.Errorf("the standby has the pipe as %s", name.Name())
		}
	}
	_ = input.Close()
	if status := s.ends(t); status != 1 {
		t.Errorf("status %d: %s", status, s.errs.String())
	}
}
