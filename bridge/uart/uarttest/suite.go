package uarttest

import (
	"io"
	"testing"

	"go.uber.org/goleak"

	"telnetcpc/bridge/uart"
)

// Programs opens the ports of the host under test as programs of this system do: by path, without knowledge of
// uart.Port. The host's own test passes it in; TTY is the implementation for all ttys on Linux.
type Programs interface {
	// Path returns a path for the next port: free, and never used before.
	Path(t *testing.T) string
	// Open opens the port at a path, and fails if there is none. It blocks as an application's open does.
	Open(path string) (Program, error)
}

// Programs may have methods that report how their ports differ:
//
//	Virtual() bool    the paths are in no file system: a fake, COM ports
//	Patient() bool    an open waits for the session without limit, and no program is made to wait for its changes: a fake
//	Exclusive() bool  one program at a time can have a port open
//	Lasting() bool    the path exists without a port too, and programs outlive the port: a com0com pair. Retire returns
//	                  ErrNotCarried

// Program is a program that has a port open. Reads and writes block as an application's do. A method that the system or the
// port has no call for returns an error. Close ends a blocked Read or Write of this program.
type Program interface {
	io.ReadWriteCloser

	// Set changes what e sets of Coding, Flow and Control: line coding and flow control in one call, the control lines in
	// another.
	Set(e uart.Event) error
	// Purge discards buffers: tcflush, PurgeComm.
	Purge(what uart.Purge) error
	// Drain waits until everything that was written has left the far UART: tcdrain.
	Drain() error
	// Modem reads the modem state.
	Modem() (uart.ModemState, error)
	// LineErrors returns the errors of received data that the port has reported since the program opened it.
	LineErrors() (uart.LineState, error)
}

// TestHost is the suite that every port host must pass: its ports fulfil the contract in package uart, and carry
// exactly what the host claims to carry. Each part opens ports of its own and closes them. own describes goroutines of
// the host that outlive its ports.
func TestHost(t *testing.T, h uart.Host, programs Programs, own ...goleak.Option) {
	if err := h.Check(); err != nil {
		t.Fatalf("this host does not work here: %v", err)
	}
	own = append(own, goleak.IgnoreCurrent())
	for _, part := range []struct {
		name  string
		test  func(*bench)
		needs uart.Fidelity // the part is skipped for hosts that lack these
	}{
		{"opened and closed", testOpenClose, 0},
		{"two programs", testTwoPrograms, 0},
		{"reopened", testReopened, 0},
		{"bytes both ways", testBytes, 0},
		{"order with answers", testOrderWithAnswers, uart.CarriesBaud},
		{"order back to back", testOrderBackToBack, uart.CarriesBaud},
		{"bytes before the close", testBytesBeforeClose, 0},
		{"back pressure up", testBackPressureUp, 0},
		{"back pressure down", testBackPressureDown, 0},
		{"write without a program", testWriteUnopened, 0},
		{"nothing stale", testNothingStale, 0},
		{"write ends with the program", testWriteEndsWithProgram, 0},
		{"close ends next", testCloseEndsNext, 0},
		{"close ends write", testCloseEndsWrite, 0},
		{"close fails the program's calls", testCloseFailsCalls, 0},
		{"close during calls", testCloseUnderCalls, 0},
		{"close during a close", testCloseUnderClose, 0},
		{"closed", testClosed, 0},
		{"retire", testRetire, 0},
		{"same path", testSamePath, 0},
		{"made again", testMadeAgain, 0},
		{"fidelity of the port", testFidelityConstant, 0},
		{"line coding", testCoding, 0},
		{"flow control", testFlow, 0},
		{"control lines", testControl, 0},
		{"hang up on close", testHangUpOnClose, uart.CarriesDTR},
		{"purge", testPurge, 0},
		{"many purges", testManyPurges, uart.CarriesPurge},
		{"edges back to back", testEdges, uart.CarriesDrain},
		{"opens in a loop without a session", testOpensInALoop, uart.CarriesDrain},
		{"drain", testDrain, 0},
		{"drain without a session", testDrainWithoutSession, uart.CarriesDrain},
		{"close without a session", testCloseWithoutSession, uart.CarriesDrain},
		{"modem state", testModem, 0},
		{"line state", testLineState, 0},
	} {
		if !h.Fidelity().Carries(part.needs) {
			continue
		}
		t.Run(part.name, func(t *testing.T) { part.test(&bench{T: t, host: h, programs: programs}) })
	}
	goleak.VerifyNone(t, own...)
}
