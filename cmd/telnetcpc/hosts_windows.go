package main

import (
	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
)

// hosts returns the port hosts of this system, the highest fidelity first.
func hosts() []uart.Host { return []uart.Host{wincom.New()} }
