package stormtest_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"telnetcpc/bridge/interop/stormtest"
	"telnetcpc/bridge/testenv"
	"telnetcpc/ptyhost"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

// telnetcpc is the built program, with the race detector if this test has it; program is the storm's.
var telnetcpc, program string

// lack is why the storm cannot run here; nil if it can.
var lack error

func runTests(m *testing.M) int {
	// The storms wait more than they compute, and each has its own agent.
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() == "1" {
		_ = flag.Set("test.parallel", "2")
	}
	dir, err := os.MkdirTemp("", "telnetcpc-stormtest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if lack = stormtest.Check(); lack == nil {
		program, err = stormtest.Build(dir)
		telnetcpc = filepath.Join(dir, "telnetcpc")
		args := append(append([]string{"build"}, testenv.RaceFlags()...), "-o", telnetcpc, "telnetcpc/cmd/telnetcpc")
		if out, bad := exec.Command("go", args...).CombinedOutput(); bad != nil {
			err = errors.Join(err, fmt.Errorf("go %v: %w\n%s", args, bad, out))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// need skips the test if the storm cannot run here.
func need(t *testing.T) {
	t.Helper()
	if lack == nil {
		return
	}
	testenv.Skip(t, lack)
}

func TestStormPty(t *testing.T) {
	need(t)
	t.Parallel()
	stormtest.Run(t, stormtest.Host{
		Name: "pty", Fidelity: ptyhost.New().Fidelity(), Telnetcpc: telnetcpc, Program: program, Start: stormtest.Attach("pty"),
	})
}
