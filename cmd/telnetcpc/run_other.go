//go:build !linux || !(amd64 || arm64)

package main

import (
	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/uart"
)

// becomeHelper does nothing: here run starts no process of its own binary.
func becomeHelper() {}

// besides returns the port hosts whose ports only some programs see: none here.
func besides() []uart.Host { return nil }

// runProgram fails, with what to use instead.
func runProgram(c *cli.Context) error {
	if _, _, err := runArguments(c); err != nil {
		return err
	}
	return usagef("run: needs Linux on amd64 or arm64 (telnetcpc attach makes a port for every program)")
}
