package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/agent"
	"telnetcpc/wincom"
)

func serviceCommand() *cli.Command {
	return family("service", helpService,
		serviceOfPort("install", true, installService),
		serviceOfPort("uninstall", false, uninstallService),
		serviceOfPort("start", false, startService),
		serviceOfPort("stop", false, stopService),
		subcommand("service", "status", helpService, nil, func(c *cli.Context) error {
			if err := servicesHere(); err != nil {
				return err
			}
			if c.NArg() == 0 {
				return serviceStatus(c.App.Writer, "")
			}
			s, err := serviceOf(c, false)
			if err != nil {
				return err
			}
			return serviceStatus(c.App.Writer, s.port)
		}),
		serviceOfPort("run", true, runService),
	)
}

// serviceOfPort returns a command on the service of one port. If whole is set, it has the flags and arguments of
// attach.
func serviceOfPort(name string, whole bool, do func(*cli.Context, attachService) error) *cli.Command {
	var flags []cli.Flag
	if whole {
		flags = append(portFlags(), &cli.BoolFlag{Name: "v"})
	}
	return subcommand("service", name, helpService, flags, func(c *cli.Context) error {
		if err := servicesHere(); err != nil {
			return err
		}
		s, err := serviceOf(c, whole)
		if err != nil {
			return err
		}
		return do(c, s)
	})
}

// attachService is an attach that runs as a Windows service.
type attachService struct {
	port string // COM9

	// For install and run only:
	config    agent.Port
	host      string
	verbose   bool
	arguments []string // flags and arguments, as given
}

func serviceOf(c *cli.Context, whole bool) (s attachService, err error) {
	names := []string{"PORT"}
	if whole {
		names = append(names, "URL")
	}
	args, err := arguments(c, names...)
	if err != nil {
		return s, err
	}
	if s.port, err = wincom.ParsePortName(args[0]); err != nil {
		return s, usagef("service %s: %w", c.Command.Name, err)
	}
	if !whole {
		return s, nil
	}
	s.host, s.verbose = c.String("host"), c.Bool("v")
	if s.config, err = portOf(c, s.port, args[1]); err != nil {
		return s, err
	}
	given, err := flagsGiven(c)
	if err != nil {
		return s, err
	}
	s.arguments = append(given, s.port, args[1])
	return s, nil
}

// fileFlags are the flags that name files: a service has another working directory, so their paths must be made
// absolute.
var fileFlags = []string{"tls-ca", "tls-cert", "tls-key"}

// flagsGiven returns the flags that were set on the command line, in a form that parses to the same values.
func flagsGiven(c *cli.Context) ([]string, error) {
	var given []string
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if !c.IsSet(name) {
			continue
		}
		switch f.(type) {
		case *cli.BoolFlag:
			given = append(given, fmt.Sprintf("--%s=%t", name, c.Bool(name)))
		case *cli.StringSliceFlag:
			for _, value := range c.StringSlice(name) {
				given = append(given, "--"+name+"="+value)
			}
		default:
			value := fmt.Sprint(c.Value(name))
			if slices.Contains(fileFlags, name) && value != "" {
				whole, err := filepath.Abs(value)
				if err != nil {
					return nil, fmt.Errorf("--%s %q: %w", name, value, err)
				}
				value = whole
			}
			given = append(given, "--"+name+"="+value)
		}
	}
	return given, nil
}
