// Command telnetcpc gives a program a serial port whose UART belongs to an RFC 2217 access server. Each command is one
// file that parses its arguments, connects the packages, runs and prints; protocol and ports are in the packages of
// bridge, ptyhost and wincom, and only this package knows both.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge"
	"telnetcpc/ptyhost/aside"
)

// Exit statuses.
const (
	exitDone     = 0
	exitFailed   = 1 // failed while running; probe: not an access server
	exitUsage    = 2 // wrong usage or configuration
	exitPort     = 3 // the port could not be made
	exitNoRemote = 4 // the remote was never reached, if the command gives up

	exitRun = 125 // run itself failed; 126 and 127: the program could not be started; any other: the program's own status
)

func main() {
	becomeHelper()
	becomeWatcher()
	status := run(catchSignals(), os.Args)
	stopWatcher()
	os.Exit(status)
}

// run is main without process state: it returns the exit status.
func run(ctx context.Context, args []string) int {
	defer errOut.Close(flushTimeout)
	defer aside.Wait(flushTimeout)
	slog.SetDefault(newLog(errOut, false)) // for code without a logger of its own, which must not block on a terminal either
	err := newApp().RunContext(ctx, args)
	var program programStatus
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &program):
		return int(program)
	}
	printLast(errOut, err)
	return status(err)
}

func newApp() *cli.App {
	cli.HelpFlag = &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print the help"}
	return &cli.App{
		Name:                  "telnetcpc",
		HideVersion:           true,
		HideHelpCommand:       true,
		EnableBashCompletion:  true,
		CustomAppHelpTemplate: helpApp,
		Commands:              []*cli.Command{attachCommand(), runCommand(), serveCommand(), probeCommand(), doctorCommand(), demoCommand(), pairCommand(), serviceCommand(), completionCommand(), versionCommand()},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usagef("unknown command %q (telnetcpc --help lists them)", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
		ExitErrHandler: func(*cli.Context, error) {}, // run prints and decides the status
	}
}

// command returns a command whose help page is the given text.
func command(name, help string, flags []cli.Flag, action cli.ActionFunc) *cli.Command {
	return &cli.Command{
		BashComplete:       complete,
		Name:               name,
		CustomHelpTemplate: help,
		Flags:              flags,
		Action:             action,
		HideHelpCommand:    true,
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usagef("%s: %v (telnetcpc %s --help)", name, err, name)
		},
	}
}

// subcommand returns a subcommand, which shares its parent's help page.
func subcommand(of, name, help string, flags []cli.Flag, action cli.ActionFunc) *cli.Command {
	c := command(of+" "+name, help, flags, action)
	c.Name = name
	return c
}

// family returns a command that only has subcommands.
func family(name, help string, commands ...*cli.Command) *cli.Command {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	c := command(name, help, nil, func(c *cli.Context) error {
		if c.NArg() == 0 {
			return usagef("%s: want %s (telnetcpc %s --help)", name, strings.Join(names, ", "), name)
		}
		return usagef("%s: unknown command %q (want %s)", name, c.Args().First(), strings.Join(names, ", "))
	})
	c.Subcommands = commands
	return c
}

// usageError is a usage error; its exit status is exitUsage.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// statusError is an error with an exit status of its own.
type statusError struct {
	error
	status int
}

func (e statusError) Unwrap() error { return e.error }

// programStatus is the exit status of the program that run has run. Nothing is printed for it: the program has reported
// its own errors.
type programStatus int

func (s programStatus) Error() string { return fmt.Sprintf("the program ended with status %d", int(s)) }

func status(err error) int {
	var own statusError
	var usage usageError
	var port *bridge.PortError
	switch {
	case errors.As(err, &own):
		return own.status
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &port):
		return exitPort
	}
	return exitFailed
}

// arguments returns the command's arguments, one for each name. A flag after an argument is an error: the command line
// library would take it for an argument.
func arguments(c *cli.Context, names ...string) ([]string, error) {
	args := c.Args().Slice()
	command := strings.TrimPrefix(c.Command.HelpName, c.App.Name+" ") // with the names of its parents
	for _, a := range args {
		if len(a) > 1 && strings.HasPrefix(a, "-") {
			return nil, usagef("%s: flag %s follows an argument (flags come first: telnetcpc %s %s ... %s)",
				command, a, command, a, strings.Join(names, " "))
		}
	}
	if len(args) != len(names) {
		want := "no argument"
		if len(names) > 0 {
			want = strings.Join(names, " ")
		}
		return nil, usagef("%s: got %d arguments, want %s (telnetcpc %s --help)", command, len(args), want, command)
	}
	return args, nil
}
