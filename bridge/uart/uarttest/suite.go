package uarttest

import (
	"io"
	"testing"

	"go.uber.org/goleak"

	"telnetcpc/bridge/uart"
)

// Programs is how programs of this system use the ports of the host under test: by their paths, and knowing nothing of
// uart.Port. The host's own test hands it in; TTY is the one for everything that is a tty on Linux.
type Programs interface {
	// Path is where the next port shall be made: free, and never used before.
	Path(t *testing.T) string
	// Open opens the port at a path, and fails where there is none. It blocks as an application's open does.
	Open(path string) (Program, error)
}

// Program is a program that has a port open. Reads and writes block as an application's do. What the system or the
// port has no call for is answered with an error. Close ends a blocked Read or Write of this program.
type Program interface {
	io.ReadWriteCloser

	// Set changes what e says of Coding, Flow and Control, the line coding and flow control in one call, the control
	// lines in another.
	Set(e uart.Event) error
	// Purge discards buffers: tcflush, PurgeComm.
	Purge(what uart.Purge) error
	// Drain waits until everything that was written has left the far UART: tcdrain.
	Drain() error
	// Modem asks for the modem state.
	Modem() (uart.ModemState, error)
	// LineErrors is what the port has reported of received data since the program opened it.
	LineErrors() (uart.LineState, error)
}

// TestHost is the suite that every port host must pass: a port does what the contract in package uart says, and carries
// what it claims to carry, no less and no more. Each part opens ports of its own and closes them.
func TestHost(t *testing.T, h uart.Host, programs Programs) {
	if err := h.Check(); err != nil {
		t.Fatalf("this host does not work here: %v", err)
	}
	before := goleak.IgnoreCurrent()
	for _, part := range []struct {
		name string
		test func(*bench)
	}{
		{"opened and closed", testOpenClose},
		{"two programs", testTwoPrograms},
		{"reopened", testReopened},
		{"bytes both ways", testBytes},
		{"order with answers", testOrderWithAnswers},
		{"order in one breath", testOrderInOneBreath},
		{"bytes before the close", testBytesBeforeClose},
		{"back pressure up", testBackPressureUp},
		{"back pressure down", testBackPressureDown},
		{"write to nobody", testWriteToNobody},
		{"nothing stale", testNothingStale},
		{"write ends with the program", testWriteEndsWithProgram},
		{"close ends next", testCloseEndsNext},
		{"close ends write", testCloseEndsWrite},
		{"close tells the program", testCloseTellsProgram},
		{"closed", testClosed},
		{"retire", testRetire},
		{"same path", testSamePath},
		{"fidelity of the port", testFidelityConstant},
		{"line coding", testCoding},
		{"flow control", testFlow},
		{"control lines", testControl},
		{"purge", testPurge},
		{"drain", testDrain},
		{"modem state", testModem},
		{"line state", testLineState},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(&bench{T: t, host: h, programs: programs}) })
	}
	goleak.VerifyNone(t, before)
}
