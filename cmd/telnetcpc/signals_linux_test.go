//go:build amd64 || arm64

package main

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	runhost "telnetcpc/ptyhost/run"
)

// A signal that comes while run starts its program ends run, even if the goroutine that waits for signals has not run yet:
// after that, signals go to the program, and this one would be lost.
func TestSignalAtHandOver(t *testing.T) {
	for i := range 200 {
		ctx := catchSignals()
		endings <- unix.SIGHUP
		leaveSignals()
		if got := signalled(ctx); got != runhost.StatusSignalled+int(unix.SIGHUP) {
			t.Fatalf("try %d: status %d, want that of SIGHUP", i, got)
		}
	}
}

// A signal ends run at any point: until the program runs the signal is for run, then for the program.
func TestRunSignalledEarly(t *testing.T) {
	t.Parallel()
	requireRun(t)
	var ended []*portAgent
	for i := range 40 {
		a := &portAgent{t: t, path: filepath.Join(t.TempDir(), "ttyV0"), done: make(chan struct{})}
		a.Cmd = telnetcpcCommand(hosted("run", a.path)...)
		a.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			a.err = a.Wait()
			close(a.done)
		}()
		for end := time.Now().Add(time.Duration(i) * 700 * time.Microsecond); time.Now().Before(end); {
		}
		a.signal(unix.SIGTERM)
		select {
		case <-a.done:
		case <-time.After(endPatience):
			_ = unix.Kill(-a.Process.Pid, unix.SIGKILL)
			t.Fatalf("try %d: it still runs", i)
		}
		ws := a.ProcessState.Sys().(syscall.WaitStatus)
		if !ws.Signaled() && ws.ExitStatus() != 128+int(unix.SIGTERM) || ws.Signaled() && ws.Signal() != unix.SIGTERM {
			t.Errorf("try %d: ended with %v", i, a.err)
		}
		ended = append(ended, a)
	}
	for _, a := range ended {
		a.until("nothing is left", a.clean)
		a.until("no process is left", func() bool { return unix.Kill(-a.Process.Pid, 0) != nil })
	}
}
