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
)

// startedRun is a running telnetcpc run.
type startedRun struct {
	*exec.Cmd
	out, errs testenv.Output
}

// startTelnetcpc starts telnetcpc run as the user nobody, in a process group of its own, and waits for this output of its
// program.
func startTelnetcpc(t *testing.T, ready string, args ...string) *startedRun {
	t.Helper()
	return startTelnetcpcStdin(t, nil, ready, args...)
}

// startTelnetcpcStdin is startTelnetcpc with a standard input.
func startTelnetcpcStdin(t *testing.T, stdin io.Reader, ready string, args ...string) *startedRun {
	t.Helper()
	s := &startedRun{Cmd: unprivileged(exec.Command(telnetcpc, append([]string{"run"}, args...)...))}
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
			t.Logf("output: %s\n%s", s.out.String(), s.errs.String())
		}
	})
	eventually(t, "it prints "+ready, func() bool { return strings.Contains(s.out.String(), ready) })
	return s
}

// waitExit waits for its exit and returns the status.
func (s *startedRun) waitExit(t *testing.T) int {
	t.Helper()
	return s.waitExitWithin(t, testenv.Patience)
}

func (s *startedRun) waitExitWithin(t *testing.T, patience time.Duration) int {
	t.Helper()
	over := time.AfterFunc(patience, func() { _ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL) })
	_ = s.Wait()
	if !over.Stop() {
		t.Errorf("it has not ended in %v", patience)
	}
	return s.ProcessState.ExitCode()
}

func isGone(path string) bool {
	_, err := os.Lstat(path)
	return err != nil
}

// signalCounter is a program that prints the signals that it receives, until its standard input ends.
const signalCounter = `
import os, signal, sys
def got(number, frame):
    os.write(1, b"got %d\n" % number)
for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(s, got)
os.write(1, b"ready\n")
sys.stdin.readline()
`

// TestSignals: a signal to telnetcpc alone is passed on to the program; one to the whole process group, as from a
// terminal, has reached the program already. Either way it arrives once.
func TestSignals(t *testing.T) {
	t.Parallel()
	address, _ := startServer(t, "loopback")
	for _, tt := range []struct {
		name  string
		group bool
	}{{"alone", false}, {"the group", true}} {
		t.Run(tt.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			s := startTelnetcpcStdin(t, r, "ready\n", address, "--", "/usr/bin/python3", "-c", signalCounter)
			_ = r.Close()
			want := ""
			for _, sent := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
				if signal.Ignored(sent) {
					continue // nohup: telnetcpc ignores it, too
				}
				to := s.Process.Pid
				if tt.group {
					to = -to
				}
				if err := syscall.Kill(to, sent); err != nil {
					t.Fatal(err)
				}
				want += fmt.Sprintf("got %d\n", int(sent))
				eventually(t, "the program receives it", func() bool { return strings.HasSuffix(s.out.String(), want) })
			}
			// A second one, if telnetcpc wrongly passed it on, arrives after groupSignalWait; if this is too short, the
			// test only sees less.
			time.Sleep(300 * time.Millisecond)
			_ = w.Close()
			if status := s.waitExit(t); status != 0 || s.out.String() != "ready\n"+want {
				t.Errorf("status %d: %q", status, s.out.String())
			}
		})
	}
}

// TestProgramKilled: the status shows it, and nothing is left.
func TestProgramKilled(t *testing.T) {
	address, _ := startServer(t, "loopback")
	path := filepath.Join(scratchDir(t), "ttyV0")
	_, errs, status := runTelnetcpc(t, "--port", path, address, "--", "sh", "-c", `exec 3<>"$TELNETCPC_PORT"; kill -9 $$`)
	if status != 128+9 {
		t.Errorf("status %d: %s", status, errs)
	}
	if left, _ := filepath.Glob(filepath.Dir(path) + "/.*"); len(left) > 0 || !isGone(path) {
		t.Errorf("left behind: %v", left)
	}
}

// TestAgentKilled: the program sees its port hang up, also in a call that waits, and everything else works on.
func TestAgentKilled(t *testing.T) {
	t.Parallel()
	program := compile(t, "gcc", "-pthread", "testdata/port.c")
	address, _ := startServer(t, "loopback")
	s := startTelnetcpc(t, "ready", "--as", "/dev/ttyS77", address, "--", program, "/dev/ttyS77", "survives")
	if err := s.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the program has ended", func() bool { return strings.Count(s.out.String(), "\n") == 2 })
	if !strings.HasSuffix(s.out.String(), "\nok\n") {
		t.Errorf("the program's output: %s", s.out.String())
	}
}

// TestLeftBehind: a child that the program leaves behind keeps a whole port until it has exited.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	address, server := startServer(t, "loopback")
	_, errs, status := runTelnetcpc(t, address, "--", "sh", "-c",
		`exec 3<>"$TELNETCPC_PORT"; (sleep 0.5; stty 300 cs7 parenb <&3; echo late >&3; sleep 0.1) & exit 3`)
	if status != 3 {
		t.Errorf("status %d: %s", status, errs)
	}
	serverLogs(t, server, `coding="300 7E1"`, "up=5")
}

// TestDaemon: a program that forks before it opens the port has a second to do so.
func TestDaemon(t *testing.T) {
	t.Parallel()
	address, server := startServer(t, "loopback")
	_, errs, status := runTelnetcpc(t, address, "--", "sh", "-c", `(sleep 0.3; echo late >"$TELNETCPC_PORT") & exit 3`)
	if status != 3 {
		t.Errorf("status %d: %s", status, errs)
	}
	serverLogs(t, server, "up=5")
}

// TestBytesOfShortProgram: a program may be gone before the session is up.
func TestBytesOfShortProgram(t *testing.T) {
	address, server := startServer(t, "loopback")
	_, errs, status := runTelnetcpc(t, "--open-wait", "0s", address, "--", "sh", "-c", `echo hello >"$TELNETCPC_PORT"`)
	if status != 0 {
		t.Errorf("status %d: %s", status, errs)
	}
	serverLogs(t, server, "up=6")
}

// TestSignalsWithoutGroup: a program that has left the process group gets the group's signals from telnetcpc.
func TestSignalsWithoutGroup(t *testing.T) {
	t.Parallel()
	address, _ := startServer(t, "loopback")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := startTelnetcpcStdin(t, r, "ready\n", address, "--", "/usr/bin/python3", "-c", "import os; os.setpgid(0, 0)"+signalCounter)
	_ = r.Close()
	if err := syscall.Kill(-s.Process.Pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("got %d\n", int(syscall.SIGUSR1))
	eventually(t, "the program receives it", func() bool { return strings.HasSuffix(s.out.String(), want) })
	_ = w.Close()
	if status := s.waitExit(t); status != 0 || s.out.String() != "ready\n"+want {
		t.Errorf("status %d: %q", status, s.out.String())
	}
}

// TestStandbyKeepsNothing: the standby has no inherited descriptor and no directory. Whoever waits for the end of a
// pipe, or wants to unmount, waits for the programs alone.
func TestStandbyKeepsNothing(t *testing.T) {
	address, _ := startServer(t, "loopback")
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
	s := &startedRun{Cmd: unprivileged(exec.Command(telnetcpc, "run", address, "--", "sh", "-c", "exec 3>&- 4>&- 5>&- 6>&-; echo ready; read line"))}
	s.Stdin, s.Stdout, s.Stderr, s.ExtraFiles = r, &s.out, &s.errs, []*os.File{w, w, w, w}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	t.Cleanup(func() { _ = s.Process.Kill(); _ = s.Wait() })
	eventually(t, "it prints ready", func() bool { return s.out.String() == "ready\n" })
	standby := childNamed(t, s.Process.Pid, "telnetcpc: standby")
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
	if status := s.waitExit(t); status != 1 {
		t.Errorf("status %d: %s", status, s.errs.String())
	}
}
