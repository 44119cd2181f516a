package vmtest

import (
	"os"
	"path/filepath"
	"testing"

	"telnetcpc/bridge/interop/hosttest"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/kerneltty"
)

// runSuite is what finds the kernel without its modules, and every port in this process.
func runSuite(t *testing.T) {
	checkModules(t) // whatever is chosen: the run alone could not load them
	t.Run("suite of hosts", func(t *testing.T) { uarttest.TestHost(t, kerneltty.New(), uarttest.TTY{}) })
	t.Run("access", checkAccess)
}

// runChecks is the test inside: what is the kernel tty's alone, and the program of checks of all hosts.
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
		// qemu's 16550A: a UART with a driver that knows all of termios. At its line is the test outside, which sends
		// back what it gets.
		UART: "/dev/ttyS1",
	})
	// Last, as it changes what new devices meet.
	t.Run("udev", checkUdev)
}

// telnetcpc is the program under test: the host has built it beside this one.
func telnetcpc() string {
	self, _ := os.Executable()
	return filepath.Join(filepath.Dir(self), "telnetcpc")
}

// checkModules: the machine comes up without them, and Check loads them.
func checkModules(t *testing.T) {
	if err := kerneltty.New().Check(); err != nil {
		t.Fatal(err)
	}
}
