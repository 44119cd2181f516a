package uart

import (
	"fmt"
	"math/bits"
	"strings"
)

// Fidelity is a set of features that a host or a remote carries; each bit is one feature.
type Fidelity uint32

// The features, one bit each. Status and log list the missing ones, so that nothing is dropped silently.
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

// FullFidelity is the set of all features.
const FullFidelity Fidelity = 1<<numFeatures - 1

// Carries reports whether all of the features are in the set.
func (f Fidelity) Carries(features Fidelity) bool { return f&features == features }

// Missing returns the features that the set lacks.
func (f Fidelity) Missing() Fidelity { return FullFidelity &^ f }

// Without returns the set without the features.
func (f Fidelity) Without(features Fidelity) Fidelity { return f &^ features }

// Features returns the features of the set, one bit each, in the order of the constants.
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
