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

// Programs may say what is different with their ports, by methods that report it:
//
//	Virtual() bool    the paths are in no file system, as those of a fake or of COM ports
//	Patient() bool    an open waits as long as the session needs, and no change is held, as those of a fake
//	Exclusive() bool  one program at a time can have a port open
//	Lasting() bool    a path is there without a port too, and its programs outlive the port, as the ends of a com0com
//	                  pair: Retire answers ErrNotCarried

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
// what it claims to carry, no less and no more. Each part opens ports of its own and closes them. own are goroutines of the
// host that outlive its ports.
func TestHost(t *testing.T, h uart.Host, programs Programs, own ...goleak.Option) {
	if err := h.Check(); err != nil {
		t.Fatalf("this host does not work here: %v", err)
	}
	own = append(own, goleak.IgnoreCurrent())
	for _, part := range []struct {
		name  string
		test  func(*bench)
		needs uart.Fidelity // of the host, for there to be anything to see
	}{
		{"opened and closed", testOpenClose, 0},
		{"two programs", testTwoPrograms, 0},
		{"reopened", testReopened, 0},
		{"bytes both ways", testBytes, 0},
		{"order with answers", testOrderWithAnswers, uart.CarriesBaud},
		{"order in one breath", testOrderInOneBreath, uart.CarriesBaud},
		{"bytes before the close", testBytesBeforeClose, 0},
		{"back pressure up", testBackPressureUp, 0},
		{"back pressure down", testBackPressureDown, 0},
		{"write to nobody", testWriteToNobody, 0},
		{"nothing stale", testNothingStale, 0},
		{"write ends with the program", testWriteEndsWithProgram, 0},
		{"close ends next", testCloseEndsNext, 0},
		{"close ends write", testCloseEndsWrite, 0},
		{"close tells the program", testCloseTellsProgram, 0},
		{"close under calls", testCloseUnderCalls, 0},
		{"close under a close", testCloseUnderClose, 0},
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
		{"purges that nobody takes", testManyPurges, uart.CarriesPurge},
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
