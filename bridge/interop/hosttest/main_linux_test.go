package hosttest_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"telnetcpc/bridge/interop/hosttest"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost"
	"telnetcpc/ptyhost/kerneltty"
)

func TestMain(m *testing.M) {
	hosttest.Main()
	flag.Parse()
	os.Exit(run(m))
}

// telnetcpc is the built program, with the race detector if this test has it.
var telnetcpc string

func run(m *testing.M) int {
	if testing.Short() {
		fmt.Println("hosttest: skipped by -short: real servers and applications run with scripts/test")
		_ = flag.Set("test.run", "^$")
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "telnetcpc-hosttest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	telnetcpc = filepath.Join(dir, "telnetcpc")
	args := append(append([]string{"build"}, testenv.RaceFlags()...), "-o", telnetcpc, "telnetcpc/cmd/telnetcpc")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go %v: %v\n%s", args, err, out)
		return 1
	}
	return m.Run()
}

// need skips the test if programs that the checks use are missing.
func need(t *testing.T) {
	t.Helper()
	for name, file := range map[string]string{
		"ser2net":        "/usr/sbin/ser2net",
		"python3-serial": "/usr/lib/python3/dist-packages/serial",
	} {
		if _, err := os.Stat(file); err != nil {
			why := fmt.Sprintf("%s is missing: %v (scripts/test installs it on Debian)", name, err)
			testenv.Skip(t, why)
		}
	}
}

// host returns the Host of telnetcpc attach.
func host(h uart.Host) hosttest.Host {
	return hosttest.Host{Telnetcpc: telnetcpc, Fidelity: h.Fidelity(), Start: hosttest.Attach(h.Name())}
}

func TestOnPty(t *testing.T) {
	need(t)
	hosttest.Run(t, host(ptyhost.New()))
}

// TestOnKernelTTY runs as root if vhci_hcd is loaded; it loads no modules. ptyhost/kerneltty/vmtest runs the same checks in a
// kernel booted for them.
func TestOnKernelTTY(t *testing.T) {
	need(t)
	if os.Geteuid() != 0 {
		t.Skip("a kernel tty needs root")
	}
	if found, _ := filepath.Glob("/sys/devices/*/vhci_hcd.0/attach"); len(found) == 0 {
		t.Skip("vhci_hcd is not loaded (modprobe vhci_hcd ftdi_sio to run this here; TestKernelTTY boots a kernel that has it)")
	}
	h := kerneltty.New()
	if err := h.Check(); err != nil {
		t.Skip(err)
	}
	checked := host(h)
	checked.Listed = true
	hosttest.Run(t, checked)
}
