package main

import (
	"errors"

	"github.com/urfave/cli/v2"
)

func runCommand() *cli.Command {
	flags := []cli.Flag{&cli.StringFlag{Name: "port"}, &cli.StringSliceFlag{Name: "as"}, &cli.BoolFlag{Name: "v"}}
	for _, f := range portFlags() {
		if f.Names()[0] != "host" {
			flags = append(flags, f)
		}
	}
	c := command("run", helpRun, flags, func(c *cli.Context) error { return withRunStatus(runProgram(c)) })
	usage := c.OnUsageError
	c.OnUsageError = func(c *cli.Context, err error, sub bool) error { return withRunStatus(usage(c, err, sub)) }
	return c
}

// withRunStatus gives an error of run itself the exit status exitRun, as env(1) does; an error that has a status keeps
// it.
func withRunStatus(err error) error {
	var own statusError
	var program programStatus
	if err == nil || errors.As(err, &own) || errors.As(err, &program) {
		return err
	}
	return statusError{err, exitRun}
}

// runArguments returns the remote and the program's command line.
func runArguments(c *cli.Context) (url string, argv []string, err error) {
	args := c.Args().Slice()
	if len(args) > 1 && args[1] == "--" {
		url, argv = args[0], args[2:]
	} else if len(args) > 0 {
		// A flag after the URL is the more likely mistake, and has its own error.
		if _, err := arguments(c, "URL", "--", "PROGRAM", "ARGS..."); err != nil && len(args) > 1 && args[1] != "" && args[1][0] == '-' {
			return "", nil, err
		}
	}
	if len(argv) == 0 || argv[0] == "" {
		return "", nil, usagef("run: want URL -- PROGRAM ARGS... (telnetcpc run --help)")
	}
	return url, argv, nil
}
