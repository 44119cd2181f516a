//go:build !windows

package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/agent"
)

// pairsHere returns an error with what to use instead: com0com is for Windows.
func pairsHere() error {
	return usagef("pair: pairs of ports are for Windows and its com0com (here attach makes the port itself: telnetcpc attach /dev/ttyV0 URL)")
}

func pairList(io.Writer) error              { return pairsHere() }
func pairAdd(*cli.Context, string) error    { return pairsHere() }
func pairRemove(*cli.Context, string) error { return pairsHere() }

// preparePort does nothing: here a host makes its port itself.
func preparePort(context.Context, agent.Port, *slog.Logger) error { return nil }

// portPath returns the path at which programs open the port that a user has given.
func portPath(path string) string { return path }
