package main

import (
	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
)

// hosts are the port hosts of this system, the most faithful first.
func hosts() []uart.Host { return []uart.Host{wincom.New()} }
