package hosttest

import (
	"os/exec"
	"path/filepath"
	"testing"

	"telnetcpc/bridge/uart"
)

// Host is a port host under test.
type Host struct {
	// Telnetcpc is the path of the built program.
	Telnetcpc string
	// Fidelity is what the host claims to carry.
	Fidelity uart.Fidelity
	// Start returns the commands of the agent and the program under test, not started. program is nil if the agent itself
	// starts it; then the agent's standard input and output are the program's.
	Start func(a Agent) (agent, program *exec.Cmd)
	// Path returns the path of the next port; nil: ttyV0 in a directory of the test.
	Path func(t *testing.T) string
	// Listed is set if lists of serial ports show the port, because its device is one of the kernel's.
	Listed bool
	// UART is a real UART for ser2net, with a loop plug at its line; empty: a pty takes its place.
	UART string
}

// Agent is what a check needs of an agent.
type Agent struct {
	Telnetcpc string
	Flags     []string // for the port, as --on-loss hangup
	Path, URL string
	Program   []string // the command line of the program under test
}

// Attach returns Host.Start for a host of telnetcpc attach, by its name in --host.
func Attach(host string) func(Agent) (agent, program *exec.Cmd) {
	return func(a Agent) (agent, program *exec.Cmd) {
		args := append(append([]string{"attach", "--host", host}, a.Flags...), a.Path, a.URL)
		return exec.Command(a.Telnetcpc, args...), exec.Command(a.Program[0], a.Program[1:]...)
	}
}

// Run runs all checks as subtests. They need stty, python3-serial and ser2net. They run in parallel, unless Host.Path is set.
func Run(t *testing.T, h Host) {
	for _, check := range []struct {
		name string
		run  func(*bench)
	}{
		{"line codings by stty", checkStty},
		{"line codings by pyserial", checkPyserial},
		{"line codings at ser2net", checkSer2net},
		{"flow control", checkFlow},
		{"shell script", checkShell},
		{"drain", checkDrain},
		{"purge", checkPurge},
		{"errors", checkErrors},
		{"break", checkBreak},
		{"lines", checkLines},
		{"hupcl", checkHUPCL},
		{"wait for a line", checkWaitForLine},
		{"open waits", checkOpenWait},
		{"bulk", checkBulk},
		{"never reads", checkNeverReads},
		{"alternations", checkAlternations},
		{"canonical mode", checkCanonical},
		{"hangup", checkHangup},
		{"killed", checkKilled},
		{"stopped", checkStopped},
		{"port lists", checkLists},
	} {
		t.Run(check.name, func(t *testing.T) {
			if h.Path == nil {
				t.Parallel()
			}
			check.run(newBench(t, h))
		})
	}
}

func newBench(t *testing.T, h Host) *bench {
	t.Helper()
	b := &bench{T: t, host: h}
	if h.Path != nil {
		b.path = h.Path(t)
	} else {
		b.path = filepath.Join(t.TempDir(), "ttyV0")
	}
	return b
}

// bench is the environment of one check.
type bench struct {
	*testing.T
	host Host
	path string // of the port

	server  string // the access server's address
	started *started
}

func (b *bench) carries(f uart.Fidelity) bool { return b.host.Fidelity.Carries(f) }
