package main

import (
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost"
	"telnetcpc/ptyhost/kerneltty"
)

// hosts returns the port hosts of this system, the highest fidelity first.
func hosts() []uart.Host { return []uart.Host{kerneltty.New(), ptyhost.New()} }
