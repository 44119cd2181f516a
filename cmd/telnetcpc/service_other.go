//go:build !windows

package main

import (
	"io"

	"github.com/urfave/cli/v2"
)

// servicesHere returns an error that names the alternative: other systems have service managers of their own.
func servicesHere() error {
	return usagef("service: only for Windows (here systemd, launchd or rc.d starts telnetcpc attach PORT URL)")
}

func installService(*cli.Context, attachService) error   { return servicesHere() }
func uninstallService(*cli.Context, attachService) error { return servicesHere() }
func startService(*cli.Context, attachService) error     { return servicesHere() }
func stopService(*cli.Context, attachService) error      { return servicesHere() }
func runService(*cli.Context, attachService) error       { return servicesHere() }
func serviceStatus(io.Writer, string) error              { return servicesHere() }
