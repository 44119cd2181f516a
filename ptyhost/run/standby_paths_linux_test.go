//go:build amd64 || arm64

package run_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// killAndWait kills telnetcpc and waits until its program has exited, with success.
func (s *startedRun) killAndWait(t *testing.T) {
	t.Helper()
	if err := s.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := func() bool { return strings.Count(s.out.String(), "\n") >= 2 }
	eventually(t, "the program has ended", ended)
	if out := s.out.String(); !strings.HasSuffix(out, "\nok\n") {
		t.Errorf("the program's output: %s", out)
	}
}

// takePTY makes ptys until one has that name, which will be free soon.
func takePTY(t *testing.T, slave string) {
	for end := time.Now().Add(testenv.Patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		number, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
		if err == nil {
			err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
		}
		if err != nil {
			t.Error(err)
		}
		name := fmt.Sprintf("/dev/pts/%d", number)
		if name == slave {
			_ = os.Chmod(name, 0o666)
		} else if strings.Compare(fmt.Sprintf("%20s", name), fmt.Sprintf("%20s", slave)) > 0 {
			_ = unix.Close(master) // a higher number: the wanted one is not free yet
			continue
		}
		t.Cleanup(func() { _ = unix.Close(master) })
		if name == slave {
			return
		}
	}
	t.Errorf("%s does not become free", slave)
}

// TestPathsAfterKill: when telnetcpc is gone the port's paths lead nowhere, neither to this machine's own device nor to
// another terminal.
func TestPathsAfterKill(t *testing.T) {
	program := pathsProgram(t)
	for _, device := range []string{"there", "not there"} {
		t.Run("device "+device, func(t *testing.T) {
			as := localDevice(t)
			if device == "not there" {
				as = filepath.Join(scratchDir(t), "ttyS77")
			}
			address, _ := startServer(t, "loopback")
			path := filepath.Join(scratchDir(t), "ttyV0")
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			s := startTelnetcpcStdin(t, r, "ready", "--port", path, "--as", as, address, "--", program, as, scratchDir(t), "after")
			_ = r.Close()
			go func() { // ends after the kill
				slave, _, _ := strings.Cut(s.out.String(), " ")
				takePTY(t, slave)
				_ = w.Close()
			}()
			s.killAndWait(t)
		})
	}
}

// TestManyCallsAfterKill: the standby answers any number of calls. It collects garbage in between.
func TestManyCallsAfterKill(t *testing.T) {
	t.Parallel()
	address, _ := startServer(t, "loopback")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := startTelnetcpcStdin(t, r, "ready\n", "--as", "/dev/ttyS77", address, "--", "/usr/bin/python3", "-c", `
import os, sys
print("ready", flush=True)
sys.stdin.readline()
for i in range(40000): os.close(os.open("/dev/null", os.O_RDONLY))
print("ok", flush=True)`)
	_ = r.Close()
	time.AfterFunc(100*time.Millisecond, func() { _ = w.Close() }) // the first call may come before the kill
	s.killAndWait(t)
}

// TestPendingAfterKill: an open that waited when telnetcpc was killed opens nothing else.
func TestPendingAfterKill(t *testing.T) {
	program := pathsProgram(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	as := localDevice(t)
	s := startTelnetcpc(t, "ready", "-v", "--open-wait", "1h", "--as", as, "rfc2217://"+l.Addr().String(), "--", program, as, scratchDir(t), "pending")
	eventually(t, "the open waits", func() bool { return strings.Contains(s.out.String()+s.errs.String(), "up   opened") })
	s.killAndWait(t)
}
