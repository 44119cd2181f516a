//go:build !unix && !windows

package main

import "telnetcpc/bridge/uart"

// hosts returns the port hosts of this system: none yet.
func hosts() []uart.Host { return nil }
