package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The watcher stays out of the way: it ignores the signals that systemd and terminals send to all processes of a group,
// and keeps no directory and no inherited descriptor.
func TestWatcherKeepsNothing(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a := startAgent(t, "pty", func(cmd *exec.Cmd) {
		cmd.ExtraFiles = []*os.File{w}
		cmd.Dir = t.TempDir()
	})
	_ = w.Close()
	watcher := a.watcher()
	for _, s := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE, unix.SIGUSR1} {
		if err := unix.Kill(watcher, s); err != nil {
			t.Fatal(err)
		}
	}
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", watcher)); err != nil || cwd != "/" {
		t.Errorf("its directory: %s, %v; want /", cwd, err)
	}
	for fd := range 3 {
		if file, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", watcher, fd)); err != nil || file != os.DevNull {
			t.Errorf("descriptor %d: %s, %v; want %s", fd, file, err, os.DevNull)
		}
	}
	if sid, err := unix.Getsid(watcher); err != nil || sid != watcher {
		t.Errorf("its session: %d, %v; want one of its own", sid, err)
	}
	a.signal(unix.SIGSTOP) // it still runs, and closes nothing
	var pipe, here unix.Stat_t
	if err := unix.Fstat(int(r.Fd()), &pipe); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", watcher))
	for _, name := range names {
		if unix.Stat(name, &here) == nil && here.Dev == pipe.Dev && here.Ino == pipe.Ino {
			t.Errorf("it has %s, which the agent inherited", filepath.Base(name))
		}
	}
	a.signal(unix.SIGKILL)
	a.ends()
	a.until("nothing is left", a.clean)
}

// A killed watcher is replaced with one that has the same links; after several kills there is none, and the port still
// works.
func TestWatcherKilled(t *testing.T) {
	a := startAgent(t, "pty", nil)
	for range 3 {
		last := a.watcher()
		if err := unix.Kill(last, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		a.until("another one runs", func() bool { pids := a.watchers(); return len(pids) == 1 && pids[0] != last })
	}
	if n := strings.Count(a.output.String(), "the watcher process has ended"); n != 1 {
		t.Errorf("its end was logged %d times, want once", n)
	}
	a.watcher()
	a.signal(unix.SIGKILL)
	a.ends()
	a.until("nothing is left", a.clean)

	a = startAgent(t, "pty", nil)
	for range 4 {
		pid := a.watcher()
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		a.until("it has ended", func() bool { return !bytes.Contains(fmt.Append(nil, a.watchers()), fmt.Append(nil, pid)) })
	}
	a.output.Await(t, "no watcher process")
	_ = openPort(t, a.path).Close()
	a.signal(unix.SIGTERM)
	if a.ends(); a.err != nil || !a.clean() {
		t.Errorf("ended with %v, clean %v", a.err, a.clean())
	}
}

// A stopped watcher does not delay the end.
func TestWatcherStopped(t *testing.T) {
	t.Parallel()
	a := startAgent(t, "pty", nil)
	app := openPort(t, a.path)
	if err := unix.Kill(a.watcher(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a.signal(unix.SIGTERM)
	if a.ends(); a.err != nil || !a.clean() {
		t.Errorf("ended with %v, clean %v", a.err, a.clean())
	}
	if n, err := app.Read(make([]byte, 1)); err == nil {
		t.Errorf("the application has read %d bytes, want the end", n)
	}
}

// run reaps all its children, the watcher too.
func TestRunReapsWatcher(t *testing.T) {
	requireRun(t)
	a := startAgent(t, "run", nil)
	a.until("the program runs", func() bool { return len(childrenOf(a.Process.Pid, "")) >= 3 }) // and guard and watcher
	last := a.watcher()
	if err := unix.Kill(last, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.until("another one runs", func() bool { pids := a.watchers(); return len(pids) == 1 && pids[0] != last })
	a.until("no child is a zombie", func() bool { return len(childrenOf(a.Process.Pid, "Z")) == 0 })
	a.signal(unix.SIGKILL)
	a.ends()
	a.until("nothing is left", a.clean)
}

// childrenOf returns the children of a process in a state of proc(5), or in any state if it is empty.
func childrenOf(parent int, state string) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if fields[1] == strconv.Itoa(parent) && (state == "" || fields[0] == state) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// If no watcher can be started the port works without one, which is logged once.
func TestNoWatcher(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start an agent of another user")
	}
	dir, err := os.MkdirTemp("", "telnetcpc-nobody")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(dir, "telnetcpc")
	if out, err := exec.Command("cp", "/proc/"+strconv.Itoa(os.Getpid())+"/exe", self).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	a := startAgentAt(t, "pty", filepath.Join(dir, "ttyV0"), func(cmd *exec.Cmd) {
		cmd.Path = self
		cmd.Dir = dir
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	})
	watcher := a.watcher()
	if err := os.Chmod(self, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(watcher, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	a.output.Await(t, "no watcher process")
	_ = openPort(t, a.path).Close()
	a.signal(unix.SIGTERM)
	if a.ends(); a.err != nil {
		t.Errorf("ended with %v", a.err)
	}
	if n := strings.Count(a.output.String(), "no watcher process"); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
	if _, err := os.Lstat(a.path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the link is left")
	}
}
