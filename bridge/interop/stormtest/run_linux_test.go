//go:build amd64 || arm64

package stormtest_test

import (
	"testing"

	"telnetcpc/bridge/interop/stormtest"
	"telnetcpc/bridge/testenv"
	"telnetcpc/ptyhost/run"
)

func TestStormRun(t *testing.T) {
	need(t)
	h, err := run.New(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Check(); err != nil {
		testenv.Skip(t, err)
	}
	t.Parallel()
	stormtest.Run(t, stormtest.Host{
		Name: "run", Fidelity: h.Fidelity(), Telnetcpc: telnetcpc, Program: program, Starts: true,
		Start: func(path, as, url string, flags, program []string) []string {
			args := append(append([]string{"run", "--port", path, "--as", as}, flags...), url, "--")
			return append(args, program...)
		},
	})
}

// The host's Check starts this binary again to see what works here; run.Main is that process and does not return.
func init() { run.Main() }
