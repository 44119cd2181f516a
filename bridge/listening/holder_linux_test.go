package listening_test

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/listening"
)

// lend passes a copy of a listening socket to another process, cat, until the test ends. When lend returns, cat has the
// copy: Start waits for execve.
func lend(t *testing.T, l net.Listener) (pid int) {
	t.Helper()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cat := exec.Command("cat")
	cat.ExtraFiles = []*os.File{f}
	in, err := cat.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cat.Wait(); err != nil {
			t.Error(err)
		}
	})
	return cat.Process.Pid
}

// inetd or systemd and the service that it starts: both hold the socket.
func TestSocketOfTwoProcesses(t *testing.T) {
	l, port := open(t, "tcp4", "127.0.0.1:0")
	cat := lend(t, l)
	pids := map[int]bool{}
	for _, one := range on(t, port) {
		pids[one.PID] = true
	}
	if len(pids) != 2 || !pids[cat] || !pids[os.Getpid()] {
		t.Errorf("got processes %v, want %d and %d", pids, os.Getpid(), cat)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	all := on(t, port)
	if len(all) != 1 || all[0].PID != cat || all[0].Process != "cat" {
		t.Errorf("got %+v, want cat, process %d", all, cat)
	}
}

// A user who may not inspect a process still sees the listener and its user.
func TestProcessOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	const nobody = 65534
	l, port := open(t, "tcp4", "127.0.0.1:0")
	lend(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var all []listening.Listener
	done := make(chan error)
	go func() {
		// Only this thread becomes another user. It is never unlocked, so that it ends with the goroutine.
		runtime.LockOSThread()
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody)
		if errno != 0 {
			done <- errno
			return
		}
		var err error
		all, err = listening.On(t.Context(), port)
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || all[0].PID != 0 || all[0].Process != "" || all[0].User != "root" {
		t.Errorf("got %+v, want a listener of root whose process is not visible", all)
	}
	if got := listening.Hidden(); !strings.Contains(got, "container") {
		t.Errorf("to root, Hidden is %q", got)
	}
}
