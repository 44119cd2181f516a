package vmtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telnetcpc/bridge/interop/stormtest"
	"telnetcpc/ptyhost/kerneltty"
)

// insideStorm is the value of insideVariable for the storm, which has a boot of its own because it may take any time.
const insideStorm = "storm"

// TestKernelTTYStorm runs the storm of all hosts on the kernel tty.
func TestKernelTTYStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short: it boots a kernel")
	}
	k := needKernel(t)
	dir := t.TempDir()
	guest := filepath.Join(dir, "vmtest.test")
	build(t, "CGO_ENABLED=0", "build", "-o", filepath.Join(dir, "telnetcpc"), "telnetcpc/cmd/telnetcpc")
	build(t, "CGO_ENABLED=0", "test", "-c", "-o", guest, "telnetcpc/ptyhost/kerneltty/vmtest")
	if _, err := stormtest.Build(dir); err != nil {
		t.Fatal(err)
	}
	retell(t, k.run(t, dir, boot{[]string{insideStorm}, []string{"-smp", "2"}}, func(string) []string {
		words := []string{"/usr/bin/env"}
		for _, set := range os.Environ() {
			if strings.HasPrefix(set, "TELNETCPC_STORM_") || strings.HasPrefix(set, "CI=") {
				words = append(words, "'"+set+"'")
			}
		}
		return append(words, guest, "-test.run='^TestKernelTTY$'", "-test.v", "-test.timeout="+guestTimeout(t))
	}))
}

// checkStorm is the storm inside.
func checkStorm(t *testing.T) {
	h := kerneltty.New()
	if err := h.Check(); err != nil { // it loads the modules
		t.Fatal(err)
	}
	self, _ := os.Executable()
	stormtest.Run(t, stormtest.Host{
		Name: h.Name(), Fidelity: h.Fidelity(), Telnetcpc: telnetcpc(),
		Program: filepath.Join(filepath.Dir(self), "storm"), Start: stormtest.Attach(h.Name()), Overtakes: true,
	})
}
