package vmtest

import (
	"testing"
	"time"

	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/kerneltty"
)

// patience is how long a check waits for what must come, in a machine whose processor is emulated.
const patience = 60 * time.Second

// runChecks is the test inside.
func runChecks(t *testing.T) {
	for _, check := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"modules are loaded", checkModules},
		{"suite of hosts", func(t *testing.T) { uarttest.TestHost(t, kerneltty.New(), uarttest.TTY{}) }},
		{"access", checkAccess},
		{"many ports", checkManyPorts},
		{"line codings", checkMatrix},
		{"killed", checkKill},
		{"drain", checkDrain},
		{"errors", checkErrors},
		{"break", checkBreak},
		{"lines", checkLines},
		{"ser2net", checkSer2net},
		{"bulk", checkBulk},
		{"never reads", checkNeverReads},
		{"alternations", checkAlternations},
		{"canonical mode", checkCanonical},
		{"hangup", checkHangup},
		{"ratios to a pty", checkRatios},
	} {
		t.Run(check.name, check.run)
	}
}

// checkModules: the machine comes up without them, and Check loads them.
func checkModules(t *testing.T) {
	if err := kerneltty.New().Check(); err != nil {
		t.Fatal(err)
	}
}
