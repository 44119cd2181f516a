//go:build !linux || !(amd64 || arm64)

package main

import (
	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/uart"
)

// becomeStage has nothing to do: run starts no process of its own here.
func becomeStage() {}

// besides are the port hosts that make no port for everybody: none here.
func besides() []uart.Host { return nil }

// runProgram says what to use instead.
func runProgram(c *cli.Context) error {
	if _, _, err := runArguments(c); err != nil {
		return err
	}
	return usagef("run: needs Linux on amd64 or arm64 (telnetcpc attach makes a port for every program)")
}
