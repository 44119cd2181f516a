package uart

import (
	"fmt"
	"math/bits"
	"strings"
)

// Fidelity is a set of features: what a host or a remote carries, or one thing that it can carry.
type Fidelity uint32

// The features, one bit each. Missing features are published in status and log: nothing is dropped without a word.
const (
	CarriesBaud       Fidelity = 1 << iota // the baud rate the application asks for
	CarriesDataBits                        // 5, 7, 8 data bits
	CarriesSixBits                         // 6 data bits, which some drivers confuse
	CarriesParity                          // N, O, E, M, S
	CarriesStopBits                        // 1 and 2 stop bits
	CarriesFlow                            // the choice of flow control
	CarriesDTR                             // DTR driven by the application
	CarriesRTS                             // RTS driven by the application
	CarriesBreak                           // break sent by the application
	CarriesPurge                           // tcflush, PurgeComm
	CarriesDrain                           // tcdrain waits for the far UART
	CarriesOrder                           // a change of settings keeps its exact place in the data
	CarriesModem                           // CTS, DSR, RI, DCD to the application
	CarriesLineErrors                      // parity, framing, overrun to the application, at the right byte
	CarriesBreakIn                         // a received break to the application
	CarriesOpenWait                        // open() waits for the session
	CarriesFlowApart                       // flow control that differs by direction; in addition to CarriesFlow
	numFeatures       = iota
)

var featureNames = [numFeatures]string{
	"baud", "data bits", "6 data bits", "parity", "stop bits", "flow control", "DTR", "RTS", "break", "purge",
	"drain", "exact order", "modem state", "line errors", "received break", "open waits", "flow control of one direction",
}

// FullFidelity carries everything.
const FullFidelity Fidelity = 1<<numFeatures - 1

// Carries reports whether all of the features are in the set.
func (f Fidelity) Carries(features Fidelity) bool { return f&features == features }

// Missing is what the set lacks.
func (f Fidelity) Missing() Fidelity { return FullFidelity &^ f }

// Without is the set without the features.
func (f Fidelity) Without(features Fidelity) Fidelity { return f &^ features }

// Features lists the set, in a fixed order.
func (f Fidelity) Features() []Fidelity {
	list := make([]Fidelity, 0, bits.OnesCount32(uint32(f)))
	for i := range numFeatures {
		if f&(1<<i) != 0 {
			list = append(list, 1<<i)
		}
	}
	return list
}

// String lists the features with commas: "baud, stop bits"; "nothing" for the empty set; unknown bits in hex.
func (f Fidelity) String() string {
	var parts []string
	for i, name := range featureNames {
		if f&(1<<i) != 0 {
			parts = append(parts, name)
		}
	}
	if rest := f &^ FullFidelity; rest != 0 {
		parts = append(parts, fmt.Sprintf("%#x", uint32(rest)))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}
