package rfc2217

import (
	"fmt"

	"telnetcpc/bridge/uart"
)

// Code is the first byte of a COM-PORT-OPTION subnegotiation: which command it is. The client's codes are below 100; the
// access server's are the same plus 100. The sections are those of RFC 2217 that define the command.
type Code byte

const (
	Signature        Code = 0  // SIGNATURE, section 2: text; empty: requests that of the other side
	SetBaudRate      Code = 1  // SET-BAUDRATE, section 2: four bytes, big endian; 0: requests the current value
	SetDataSize      Code = 2  // SET-DATASIZE, section 2: 5 to 8; 0: as for SET-BAUDRATE
	SetParity        Code = 3  // SET-PARITY, section 2: 1 to 5, as uart.Parity; 0: likewise
	SetStopSize      Code = 4  // SET-STOPSIZE, section 2: 1 to 3, as uart.StopBits; 0: likewise
	SetControl       Code = 5  // SET-CONTROL, section 3: a Control
	NotifyLineState  Code = 6  // NOTIFY-LINESTATE, section 4: a uart.LineState; from the access server alone
	NotifyModemState Code = 7  // NOTIFY-MODEMSTATE, section 4: a uart.ModemState and which lines changed; from the access server alone
	FlowSuspend      Code = 8  // FLOWCONTROL-SUSPEND, section 5: send no more data; no value
	FlowResume       Code = 9  // FLOWCONTROL-RESUME, section 5: data may be sent again; no value
	SetLineMask      Code = 10 // SET-LINESTATE-MASK, section 3: which line states to notify; at first 0
	SetModemMask     Code = 11 // SET-MODEMSTATE-MASK, section 3: which modem states to notify; at first 255
	PurgeData        Code = 12 // PURGE-DATA, section 3: 1 to 3, as uart.Purge

	// FromServer is added to a code that comes from the access server.
	FromServer Code = 100
)

var codeNames = [...]string{
	"SIGNATURE", "SET-BAUDRATE", "SET-DATASIZE", "SET-PARITY", "SET-STOPSIZE", "SET-CONTROL", "NOTIFY-LINESTATE",
	"NOTIFY-MODEMSTATE", "FLOWCONTROL-SUSPEND", "FLOWCONTROL-RESUME", "SET-LINESTATE-MASK", "SET-MODEMSTATE-MASK",
	"PURGE-DATA",
}

// String returns the RFC's name, whichever side the code comes from, or the number in hex.
func (c Code) String() string {
	base := c
	if c >= FromServer {
		base -= FromServer
	}
	if int(base) < len(codeNames) {
		return codeNames[base]
	}
	return fmt.Sprintf("%#02x", byte(c))
}

// Control is the value of SET-CONTROL (RFC 2217, section 3). Values named Ask request the current value and set nothing.
type Control byte

const (
	AskFlowOut     Control = 0
	FlowOutNone    Control = 1
	FlowOutXonXoff Control = 2
	FlowOutRTSCTS  Control = 3 // HARDWARE
	AskBreak       Control = 4
	BreakOn        Control = 5
	BreakOff       Control = 6
	AskDTR         Control = 7
	DTROn          Control = 8
	DTROff         Control = 9
	AskRTS         Control = 10
	RTSOn          Control = 11
	RTSOff         Control = 12
	AskFlowIn      Control = 13
	FlowInNone     Control = 14
	FlowInXonXoff  Control = 15
	FlowInRTSCTS   Control = 16 // HARDWARE
	FlowOutDCD     Control = 17
	FlowInDTR      Control = 18
	FlowOutDSR     Control = 19
)

// flowOut and flowIn are the values of SET-CONTROL for flow control; 0: the method does not exist in this direction. An
// outbound value alone sets both directions (RFC 2217, section 3, SET-CONTROL 1 to 3).
var (
	flowOut = map[uart.FlowMethod]Control{
		uart.FlowNone: FlowOutNone, uart.FlowXonXoff: FlowOutXonXoff, uart.FlowRTSCTS: FlowOutRTSCTS,
		uart.FlowDCD: FlowOutDCD, uart.FlowDSR: FlowOutDSR,
	}
	flowIn = map[uart.FlowMethod]Control{
		uart.FlowNone: FlowInNone, uart.FlowXonXoff: FlowInXonXoff, uart.FlowRTSCTS: FlowInRTSCTS, uart.FlowDTR: FlowInDTR,
	}
)

// setting returns what the value sets, in the fields of an event; none is set for a value that requests the current one.
func (c Control) setting() (e uart.Event) {
	for method, value := range flowOut {
		if value == c {
			e.Flow.Out = method
		}
	}
	for method, value := range flowIn {
		if value == c {
			e.Flow.In = method
		}
	}
	switch c {
	case BreakOn, BreakOff:
		e.Control.Break = uart.LevelOf(c == BreakOn)
	case DTROn, DTROff:
		e.Control.DTR = uart.LevelOf(c == DTROn)
	case RTSOn, RTSOff:
		e.Control.RTS = uart.LevelOf(c == RTSOn)
	}
	return e
}
