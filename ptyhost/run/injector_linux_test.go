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

// daemon starts a program that is not in telnetcpc's process group and opens the port so often, each time for a descriptor
// of its own.
func daemon(t *testing.T, opens int) *started {
	t.Helper()
	program := compileCalls(t)
	address, _ := serve(t, "loopback")
	return starts(t, "ready\n", "--open-wait", "0s", "--as", "/dev/ttyS77", address, "--", program, "/dev/ttyS77", "apart", strconv.Itoa(opens))
}

// endsWell waits for the end of a program that must be content.
func (s *started) endsWell(t *testing.T) {
	t.Helper()
	if status := s.ends(t); status != 0 || !strings.HasSuffix(s.out.String(), "ok\n") {
		t.Errorf("status %d", status)
	}
}

// TestGroupStoppedAtOpens: ^Z stops telnetcpc in the middle of an open of a program that it does not reach: this goes on
// waiting, and gets its descriptor. TELNETCPC_RUN_OPENS is how many there are.
func TestGroupStoppedAtOpens(t *testing.T) {
	s := daemon(t, number(t, "TELNETCPC_RUN_OPENS", 10_000))
	done := make(chan struct{})
	stops := make(chan int)
	go func() { // ends with the test
		n := 0
		defer func() { stops <- n }()
		for ; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(n%7) * 50 * time.Microsecond): // no synchronisation: another moment each time
			}
			_ = syscall.Kill(-s.Process.Pid, syscall.SIGSTOP)
			time.Sleep(100 * time.Microsecond)
			_ = syscall.Kill(-s.Process.Pid, syscall.SIGCONT)
		}
	}()
	s.endsWell(t)
	close(done)
	t.Logf("stopped %d times", <-stops)
}

// TestGiverGone: opens go on where the process that gives descriptors is stopped or killed, and the end of a service, which
// systemd tells to all its processes, does not end it.
func TestGiverGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		sent syscall.Signal
		gone bool
	}{
		{"SIGTERM", syscall.SIGTERM, false},
		{"SIGSTOP", syscall.SIGSTOP, true}, // it is late, and is ended then
		{"SIGKILL", syscall.SIGKILL, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			program := compileCalls(t)
			address, _ := serve(t, "loopback")
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			s := startsWith(t, r, "ready\n", "-v", "--open-wait", "0s", address, "--", "sh", "-c",
				`echo ready; read line; "$0" "$TELNETCPC_PORT" opens 200; read line`, program)
			_ = r.Close()
			injector := child(t, s.Process.Pid, "telnetcpc: injector")
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
			if status := s.ends(t); status != 1 {
				t.Errorf("status %d", status)
			}
			eventually(t, "the injector has ended", func() bool { return state(injector) == "" })
		})
	}
}
