//go:build amd64 || arm64

package run_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"telnetcpc/bridge/interop/hosttest"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/run"
)

func newHost(t *testing.T, as ...string) *run.Host {
	t.Helper()
	h, err := run.New(as, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHost(t *testing.T) { // it checks for leaked goroutines: no test may run in parallel
	h := newHost(t)
	// The receiver may have been replaced by another goroutine since the start: see Host.receiveCalls.
	uarttest.TestHost(t, h, programs{puppet(t, h)}, goleak.IgnoreAnyFunction("telnetcpc/ptyhost/run.(*Host).receiveCalls"))
}

// TestChecks runs the checks that all hosts of Linux pass, as the user nobody.
func TestChecks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped by -short: real servers and applications run with scripts/test")
	}
	for name, file := range map[string]string{
		"ser2net":        "/usr/sbin/ser2net",
		"python3-serial": "/usr/lib/python3/dist-packages/serial",
	} {
		if _, err := os.Stat(file); err != nil {
			skip(t, fmt.Sprintf("%s is not here: %v (scripts/test installs it on Debian)", name, err))
		}
	}
	hosttest.Run(t, hosttest.Host{
		Telnetcpc: telnetcpc, Fidelity: newHost(t).Fidelity(),
		Path: func(t *testing.T) string { return filepath.Join(scratchDir(t), "ttyV0") },
		Start: func(a hosttest.Agent) (agent, program *exec.Cmd) {
			args := append([]string{"run", "-v", "--port", a.Path}, a.Flags...)
			args = append(append(args, a.URL, "--", self), a.Program[1:]...)
			return unprivileged(exec.Command(a.Telnetcpc, args...)), nil
		},
	})
}
