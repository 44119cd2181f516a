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

// puppetVariable makes the test binary a puppet: a program that a test on Linux controls. Its standard input and output are
// the connection.
const puppetVariable = "TELNETCPC_PUPPET"

// The environment of TestCOM9; scripts/verify-windows.ps1 sets it.
const (
	pairVariable    = "TELNETCPC_PAIR"    // the application's end: COM9
	programVariable = "TELNETCPC_PROGRAM" // telnetcpc.exe
)

// Order has the arguments of Puppet's methods; each uses some of them. It is exported for package rpc only.
type Order struct {
	ID     int // of an open port
	Via    string
	Name   string
	Data   []byte
	Size   int
	Event  uart.Event
	Within time.Duration
}

// Result is what Puppet's methods return.
type Result struct {
	ID    int
	Data  []byte
	Size  int
	Modem uart.ModemState
	Names []string
	Error string // empty: none
}
