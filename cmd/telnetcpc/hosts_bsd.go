//go:build unix && !linux

package main

import (
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost"
)

// hosts returns the port hosts of this system, the highest fidelity first.
func hosts() []uart.Host { return []uart.Host{ptyhost.New()} }
