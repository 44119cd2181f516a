//go:build !linux || !(amd64 || arm64)

package main

import "github.com/urfave/cli/v2"

func becomeStage() {}

// runProgram says what to use instead.
func runProgram(*cli.Context) error {
	return usagef("run: needs Linux on amd64 or arm64 (telnetcpc attach makes a port for every program)")
}
