//go:build amd64 || arm64

package run_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startDaemon starts a program outside telnetcpc's process group that opens the port this often. Every open must return
// a descriptor of its own.
func startDaemon(t *testing.T, opens int) *startedRun {
	t.Helper()
	program := compileCalls(t)
	address, _ := startServer(t, "loopback")
	return startTelnetcpc(t, "ready\n", "--open-wait", "0s", "--as", "/dev/ttyS77", address, "--", program, "/dev/ttyS77", "apart", strconv.Itoa(opens))
}

// waitOK waits for the exit of a program, which must report success.
func (s *startedRun) waitOK(t *testing.T) {
	t.Helper()
	if status := s.waitExit(t); status != 0 || !strings.HasSuffix(s.out.String(), "ok\n") {
		t.Errorf("status %d", status)
	}
}

// TestGroupStoppedAtOpens: ^Z stops telnetcpc in the middle of an open by a program that is not stopped with it. The
// program waits and gets its descriptor. TELNETCPC_RUN_OPENS is the number of opens.
func TestGroupStoppedAtOpens(t *testing.T) {
	s := startDaemon(t, repetitions(t, "TELNETCPC_RUN_OPENS", 10_000))
	done := make(chan struct{})
	stops := make(chan int)
	go func() { // ends with the test
		n := 0
		defer func() { stops <- n }()
		for ; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(n%7) * 50 * time.Microsecond): // no synchronisation: a different moment each time
			}
			_ = syscall.Kill(-s.Process.Pid, syscall.SIGSTOP)
			time.Sleep(100 * time.Microsecond)
			_ = syscall.Kill(-s.Process.Pid, syscall.SIGCONT)
		}
	}()
	s.waitOK(t)
	close(done)
	t.Logf("stopped %d times", <-stops)
}

// TestInjectorGone: opens work while the injector is stopped or after it was killed. SIGTERM, which systemd sends to
// all processes of a service, does not end it.
func TestInjectorGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		sent syscall.Signal
		gone bool
	}{
		{"SIGTERM", syscall.SIGTERM, false},
		{"SIGSTOP", syscall.SIGSTOP, true}, // it is late, and killed for that
		{"SIGKILL", syscall.SIGKILL, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			program := compileCalls(t)
			address, _ := startServer(t, "loopback")
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			s := startTelnetcpcStdin(t, r, "ready\n", "-v", "--open-wait", "0s", address, "--", "sh", "-c",
				`echo ready; read line; "$0" "$TELNETCPC_PORT" opens 200; read line`, program)
			_ = r.Close()
			injector := childNamed(t, s.Process.Pid, "telnetcpc: injector")
			if err := syscall.Kill(injector, tt.sent); err != nil {
				t.Fatal(err)
			}
			if _, err := w.WriteString("go\n"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the opens are done", func() bool { return strings.HasSuffix(s.out.String(), "\nok\n") })
			eventually(t, "the last close is noticed", func() bool {
				errs := s.errs.String()
				return strings.LastIndex(errs, "up   closed\n") > strings.LastIndex(errs, "up   opened\n")
			})
			if gone := state(injector) == ""; gone != tt.gone {
				t.Errorf("the injector is gone: %v, want %v", gone, tt.gone)
			}
			_ = w.Close()
			if status := s.waitExit(t); status != 1 {
				t.Errorf("status %d", status)
			}
			eventually(t, "the injector has ended", func() bool { return state(injector) == "" })
		})
	}
}
