package rfc2217

import (
	"fmt"

	"telnetcpc/bridge/uart"
)

// Code is the first byte of a COM-PORT-OPTION subnegotiation (RFC 2217, section 2). The client's are below 100; the
// access server's are the same plus 100.
type Code byte

const (
	Signature        Code = 0 // SIGNATURE: text; empty asks for the other's
	SetBaudRate      Code = 1 // SET-BAUDRATE: four bytes, big endian; 0 asks
	SetDataSize      Code = 2 // SET-DATASIZE: 5 to 8; 0 asks
	SetParity        Code = 3 // SET-PARITY: 1 to 5; 0 asks
	SetStopSize      Code = 4 // SET-STOPSIZE: 1 to 3; 0 asks
	SetControl       Code = 5 // SET-CONTROL: a Control
	NotifyLineState  Code = 6 // NOTIFY-LINESTATE: from the access server
	NotifyModemState Code = 7 // NOTIFY-MODEMSTATE: from the access server
	FlowSuspend      Code = 8 // FLOWCONTROL-SUSPEND
	FlowResume       Code = 9 // FLOWCONTROL-RESUME
	SetLineMask      Code = 10
	SetModemMask     Code = 11
	PurgeData        Code = 12 // PURGE-DATA: 1 to 3

	// FromServer is what is added to a code that comes from the access server.
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

// Control is the value of SET-CONTROL.
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

// flowOut and flowIn are SET-CONTROL's values of the flow controls; 0 where a direction does not know the method. An
// outbound value alone sets both directions at most servers.
var (
	flowOut = map[uart.FlowMethod]Control{
		uart.FlowNone: FlowOutNone, uart.FlowXonXoff: FlowOutXonXoff, uart.FlowRTSCTS: FlowOutRTSCTS,
		uart.FlowDCD: FlowOutDCD, uart.FlowDSR: FlowOutDSR,
	}
	flowIn = map[uart.FlowMethod]Control{
		uart.FlowNone: FlowInNone, uart.FlowXonXoff: FlowInXonXoff, uart.FlowRTSCTS: FlowInRTSCTS, uart.FlowDTR: FlowInDTR,
	}
)

// setting returns what a SET-CONTROL value sets, in the event's fields; a value that asks sets nothing.
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
