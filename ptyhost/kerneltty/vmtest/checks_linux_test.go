package vmtest

import (
	"os"
	"path/filepath"
	"testing"

	"telnetcpc/bridge/interop/hosttest"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/kerneltty"
)

// runSuite runs the checks that need a kernel without the modules, and those with every port in this process.
func runSuite(t *testing.T) {
	checkModules(t) // whatever is selected: the run without the machine's files could not load them
	t.Run("suite of hosts", func(t *testing.T) { uarttest.TestHost(t, kerneltty.New(), uarttest.TTY{}) })
	t.Run("access", checkAccess)
}

// runChecks is the test inside: the checks of the kernel tty, and those of all hosts.
func runChecks(t *testing.T) {
	for _, check := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"many ports", checkManyPorts},
		{"driver lets go", checkUnbound},
		{"crowd", checkCrowd},
		{"run under Yama", checkYama},
		{"run frozen", checkFrozenRun},
		{"paths under Yama", checkYamaPaths},
	} {
		t.Run(check.name, check.run)
	}
	h := kerneltty.New()
	hosttest.Run(t, hosttest.Host{
		Telnetcpc: telnetcpc(),
		Fidelity:  h.Fidelity(),
		Start:     hosttest.Attach(h.Name()),
		Path:      func(*testing.T) string { return "/dev/ttyV0" },
		Listed:    true,
		// qemu's 16550A: a UART with a driver that supports all of termios. The test outside is connected to its line
		// and sends back what it receives.
		UART: "/dev/ttyS1",
	})
	// Last, because it changes how new devices are treated.
	t.Run("udev", checkUdev)
}

// telnetcpc is the program under test: the test outside has built it beside this one.
func telnetcpc() string {
	self, _ := os.Executable()
	return filepath.Join(filepath.Dir(self), "telnetcpc")
}

// checkModules: the machine boots without them, and Check loads them.
func checkModules(t *testing.T) {
	if err := kerneltty.New().Check(); err != nil {
		t.Fatal(err)
	}
}
