package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// A port's path must never lead to another program's terminal, however the command that made it ends. These tests run the
// command itself, as the scripts do: this test's own binary.

const endPatience = 60 * time.Second

// portAgent is a telnetcpc process that has a port at path.
type portAgent struct {
	*exec.Cmd
	t      *testing.T
	path   string
	output *testenv.Output
	done   chan struct{}
	err    error // of Wait; read after done
}

// hosted returns the command line of an agent on a port host. Nothing listens at the remote.
func hosted(host, path string) []string {
	if host == "run" {
		return []string{"run", "--port", path, "127.0.0.1:9", "--", "sleep", "1000"}
	}
	return []string{"attach", "--host", host, path, "127.0.0.1:9"}
}

// heedHangup makes the processes of these tests react to SIGHUP even if the tests were started with nohup. This cannot be
// undone: Go cannot ignore a signal again.
var heedHangup = sync.OnceFunc(func() {
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
})

// telnetcpcCommand returns a telnetcpc to start: it is this test's binary.
func telnetcpcCommand(args ...string) *exec.Cmd {
	heedHangup()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "telnetcpc"
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// startAgent starts an agent and waits until its port exists.
func startAgent(t *testing.T, host string, change func(*exec.Cmd)) *portAgent {
	t.Helper()
	return startAgentAt(t, host, filepath.Join(t.TempDir(), "ttyV0"), change)
}

func startAgentAt(t *testing.T, host, path string, change func(*exec.Cmd)) *portAgent {
	t.Helper()
	a := &portAgent{t: t, path: path, output: new(testenv.Output), done: make(chan struct{})}
	a.Cmd = telnetcpcCommand(hosted(host, a.path)...)
	a.Stdout, a.Stderr = a.output, a.output
	a.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	a.WaitDelay = time.Second
	if change != nil {
		change(a.Cmd)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		a.err = a.Wait()
		close(a.done)
	}()
	t.Cleanup(func() {
		_ = unix.Kill(-a.Process.Pid, unix.SIGKILL)
		<-a.done
		if t.Failed() {
			t.Logf("the agent's output:\n%s", a.output)
		}
	})
	a.until("the port exists", func() bool {
		select {
		case <-a.done:
			t.Fatalf("the agent ended: %v\n%s", a.err, a.output)
		default:
		}
		_, err := os.Stat(a.path)
		return err == nil
	})
	return a
}

func (a *portAgent) until(what string, ok func() bool) {
	a.t.Helper()
	for end := time.Now().Add(endPatience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			a.t.Fatalf("not within %v: %s", endPatience, what)
		}
	}
}

// ends waits for the agent's end.
func (a *portAgent) ends() *os.ProcessState {
	a.t.Helper()
	select {
	case <-a.done:
	case <-time.After(endPatience):
		a.t.Fatal("the agent does not end")
	}
	return a.ProcessState
}

func (a *portAgent) signal(s syscall.Signal) {
	a.t.Helper()
	if err := a.Process.Signal(s); err != nil {
		a.t.Fatal(err)
	}
}

// clean reports whether nothing is left where the port was.
func (a *portAgent) clean() bool {
	left, err := os.ReadDir(filepath.Dir(a.path))
	if err != nil {
		a.t.Fatal(err)
	}
	return len(left) == 0
}

// watchers returns the watcher processes whose parent is the agent.
func (a *portAgent) watchers() (pids []int) { return watchersOf(a.Process.Pid) }

func watchersOf(parent int) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && string(line) == fmt.Sprintf("telnetcpc: watcher\x00%d\x00", parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// watcher returns the only one, once it ignores signals and has its name.
func (a *portAgent) watcher() (pid int) {
	a.t.Helper()
	a.until("there is one watcher", func() bool {
		pids := a.watchers()
		if len(pids) != 1 {
			return false
		}
		pid = pids[0]
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return err == nil && string(comm) == "telnetcpc-watch\n"
	})
	return pid
}

// onHosts runs a test on the hosts that need no privileges.
func onHosts(t *testing.T, test func(t *testing.T, host string)) {
	for _, host := range []string{"pty", "run"} {
		t.Run(host, func(t *testing.T) {
			if host == "run" {
				requireRun(t)
			}
			test(t, host)
		})
	}
}

// requireRun skips the test if run does not work here.
func requireRun(t *testing.T) {
	t.Helper()
	hosts := extraHosts()
	if len(hosts) == 0 {
		t.Skip("run is not for this machine")
	}
	if err := hosts[0].Check(); err != nil {
		skipLoudly(t, err.Error())
	}
}

// skipLoudly skips a test with the reason; in scripts/test that is a failure.
func skipLoudly(t *testing.T, why string) {
	t.Helper()
	testenv.Skip(t, why)
}

// A killed agent leaves nothing at the port's path, and no process but those that it was not asked to end.
func TestKilledAgentLeavesNoLink(t *testing.T) {
	t.Parallel()
	watchers := map[*portAgent]int{} // each keeps its terminal's number for some seconds
	onHosts(t, func(t *testing.T, host string) {
		for _, s := range []syscall.Signal{unix.SIGKILL, unix.SIGSEGV, unix.SIGABRT} {
			t.Run(unix.SignalName(s), func(t *testing.T) {
				a := startAgent(t, host, nil)
				watchers[a] = a.watcher()
				a.signal(s)
				a.ends()
				a.until("nothing is left", a.clean)
			})
		}
	})
	for a, watcher := range watchers {
		a.t = t
		a.until("the watcher has ended", func() bool { return unix.Kill(watcher, 0) != nil || len(a.watchers()) == 0 })
	}
}

// A closed window, kill and Ctrl-C end an agent in order: exit status 0, no link, no process left.
func TestEndInOrder(t *testing.T) {
	for _, s := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM} {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			a := startAgent(t, "pty", nil)
			a.watcher()
			a.signal(s)
			if a.ends(); a.err != nil {
				t.Errorf("ended with %v, want status 0", a.err)
			}
			if !a.clean() {
				t.Error("the link or its lock is left")
			}
			if left := a.watchers(); len(left) > 0 {
				t.Errorf("the watcher is left: process %v", left)
			}
		})
	}
}

// Two SIGHUPs count as one: when a window closes, the kernel sends one and the shell another.
func TestHangupTwice(t *testing.T) {
	for range 10 {
		a := startAgent(t, "pty", nil)
		a.signal(unix.SIGHUP)
		time.Sleep(time.Millisecond) // the kernel merges two that come together
		_ = a.Process.Signal(unix.SIGHUP)
		if a.ends(); a.err != nil {
			t.Fatalf("ended with %v, want status 0", a.err)
		}
	}
}

// Under nohup SIGHUP is ignored: the port stays.
func TestNohup(t *testing.T) {
	onHosts(t, func(t *testing.T, host string) {
		bash, err := exec.LookPath("bash")
		if err != nil {
			skipLoudly(t, err.Error())
		}
		a := startAgent(t, host, func(cmd *exec.Cmd) { // not by this process: Go cannot stop ignoring a signal
			script := []string{"bash", "-c", `trap "" HUP; exec -a telnetcpc "$0" "$@"`, fmt.Sprintf("/proc/%d/exe", os.Getpid())}
			cmd.Path, cmd.Args = bash, append(script, cmd.Args[1:]...)
		})
		a.signal(unix.SIGHUP)
		app := openPort(t, a.path) // the signal, sent before, is handled before
		_ = app.Close()
		select {
		case <-a.done:
			t.Fatalf("it ended: %v", a.err)
		case <-time.After(50 * time.Millisecond):
		}
		a.signal(unix.SIGTERM)
		a.ends()
		a.until("nothing is left", a.clean)
	})
}

func openPort(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// A second signal, and SIGQUIT, end the process at once, after the links. The second signal comes at any point of the
// ordinary end.
func TestEndAtOnce(t *testing.T) {
	for i := range 40 {
		a := startAgent(t, "pty", nil)
		a.signal(unix.SIGTERM)
		for end := time.Now().Add(time.Duration(i*i) * time.Microsecond); time.Now().Before(end); {
		}
		_ = a.Process.Signal(unix.SIGINT)
		ws := a.ends().Sys().(syscall.WaitStatus)
		if ws.Signaled() && ws.Signal() != unix.SIGINT && ws.Signal() != unix.SIGTERM || !ws.Signaled() && ws.ExitStatus() != 0 {
			t.Errorf("ended with %v, want it ended by the second signal", a.err)
		}
		if _, err := os.Lstat(a.path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal("the link is left")
		}
	}
}

// SIGQUIT still prints the stack of every goroutine.
func TestQuit(t *testing.T) {
	a := startAgent(t, "pty", nil)
	a.signal(unix.SIGQUIT)
	ws := a.ends().Sys().(syscall.WaitStatus)
	if _, err := os.Lstat(a.path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the link is left")
	}
	if ws.ExitStatus() != 2 || !strings.Contains(a.output.String(), "SIGQUIT: quit") || !strings.Contains(a.output.String(), "goroutine ") {
		t.Errorf("ended with %v, want status 2 and the goroutines:\n%s", a.err, a.output)
	}
}

// The reader of the log may exit: `telnetcpc attach ... 2>&1 | head -1`.
func TestLogReaderGone(t *testing.T) {
	onHosts(t, func(t *testing.T, host string) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		a := startAgent(t, host, func(cmd *exec.Cmd) {
			cmd.Args = append(cmd.Args[:2:2], append([]string{"-v"}, cmd.Args[2:]...)...)
			cmd.Stdout, cmd.Stderr = w, w
		})
		_ = w.Close()
		for range 20 { // each is logged
			_ = openPort(t, a.path).Close()
			a.signal(unix.SIGPIPE)
		}
		select {
		case <-a.done:
			t.Fatalf("it ended: %v", a.err)
		case <-time.After(100 * time.Millisecond):
		}
		a.signal(unix.SIGTERM)
		a.ends()
		a.until("nothing is left", a.clean)
	})
}

// The window in which an agent runs is closed: its terminal disappears, and the agent ends in order.
func TestWindowClosed(t *testing.T) {
	onHosts(t, func(t *testing.T, host string) {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer master.Close()
		a := startAgent(t, host, func(cmd *exec.Cmd) {
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		})
		_ = slave.Close()
		watcher := a.watcher()
		if host == "run" {
			a.until("the program runs", func() bool { return len(childrenOf(a.Process.Pid, "")) >= 3 })
		}
		_ = master.Close()
		ws := a.ends().Sys().(syscall.WaitStatus)
		if want := map[string]int{"pty": 0, "run": 128 + int(unix.SIGHUP)}[host]; ws.Signaled() || ws.ExitStatus() != want {
			t.Errorf("ended with %v, want status %d", a.err, want)
		}
		a.until("nothing is left", a.clean)
		a.until("the watcher has ended", func() bool { return unix.Kill(watcher, 0) != nil || len(a.watchers()) == 0 })
	})
}
