//go:build !linux || !(amd64 || arm64)

package main

import (
	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/uart"
)

// becomeHelper does nothing: on this system run starts no helper process.
func becomeHelper() {}

// extraHosts returns the port hosts that --host auto never chooses: none on this system.
func extraHosts() []uart.Host { return nil }

// runProgram fails, with what to use instead.
func runProgram(c *cli.Context) error {
	if _, _, err := runArguments(c); err != nil {
		return err
	}
	return usagef("run: needs Linux on amd64 or arm64 (telnetcpc attach makes a port for every program)")
}
