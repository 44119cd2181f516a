//go:build linux || windows

package winetest

import (
	"time"

	"telnetcpc/bridge/uart"
)

// The ways in which a program may use a port.
const (
	viaLibrary = "library" // go.bug.st/serial, as programs in Go do
	viaWindows = "windows" // the system's own calls, for what the library lacks: break, events, errors
)

// puppetVariable says that the test binary is to be a program that a test on the other side tells what to do. Its
// standard input and output are the connection.
const puppetVariable = "TELNETCPC_PUPPET"

// What TestCOM9 is told by its environment; scripts/verify-windows.ps1 sets it.
const (
	pairVariable    = "TELNETCPC_PAIR"    // the application's end: COM9
	programVariable = "TELNETCPC_PROGRAM" // telnetcpc.exe
)

// Order is what a Puppet is told; each method uses some of it. It is exported for package rpc alone.
type Order struct {
	ID     int // of an open port
	Via    string
	Name   string
	Data   []byte
	Size   int
	Event  uart.Event
	Within time.Duration
}

// Result is what a Puppet answers.
type Result struct {
	ID    int
	Data  []byte
	Size  int
	Modem uart.ModemState
	Names []string
	Error string // empty: it went well
}
