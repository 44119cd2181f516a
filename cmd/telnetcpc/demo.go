package main

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/demo"
	"telnetcpc/bridge/uart"
)

func demoCommand() *cli.Command {
	flags := []cli.Flag{&cli.StringFlag{Name: "port"}, &cli.BoolFlag{Name: "once"}}
	return command("demo", helpDemo, flags, func(c *cli.Context) error {
		if _, err := arguments(c); err != nil {
			return err
		}
		ctx, stop := untilReaderGone(c.Context)
		defer stop()
		host, _, err := chooseHost(demoHosts(), "auto")
		if err != nil {
			return statusError{fmt.Errorf("demo: %w", err), exitPort}
		}
		path := c.String("port")
		if path == "" {
			var remove func()
			if path, remove, err = demoPort(); err != nil {
				return statusError{fmt.Errorf("demo: %w", err), exitPort}
			}
			defer remove()
		}
		return demo.Run(ctx, demo.Config{
			Host: host, Path: path, Once: c.Bool("once"), Out: c.App.Writer,
			Log: newLogAt(errOut, slog.LevelWarn), // lesser events are in the report
		})
	})
}

// demoHosts are the port hosts whose ports this process may open itself. Kernel ttys are not among them: if the process
// were killed, its exit would wait in the kernel for an answer that only the process itself could give.
func demoHosts() []uart.Host {
	return slices.DeleteFunc(hosts(), func(h uart.Host) bool { return h.Name() == "kernel" })
}
