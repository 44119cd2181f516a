package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/agent"
	"telnetcpc/wincom/winservice"
)

func servicesHere() error { return nil }

func installService(c *cli.Context, s attachService) error {
	// Report an error of attach now, not later in the service's log.
	if _, err := agent.NewBridge(s.config, slog.New(slog.DiscardHandler)); err != nil {
		return usageError{err}
	}
	host, _, err := chooseHost(hosts(), s.host)
	if err != nil {
		return usageError{err}
	}
	p := s.config
	p.Host = host
	log := newLog(errOut, s.verbose)
	if err := preparePort(c.Context, p, log); err != nil {
		return err
	}
	if program, atRisk := winservice.ProgramAtRisk(); atRisk {
		log.Warn("the service runs with the system's rights, and others may be able to write its program", "program", program, "hint", "scripts/install.ps1")
	}
	if err := winservice.Install(c.Context, winservice.Config{
		Port: s.port, Description: fmt.Sprintf("Serial port %s from %s", s.port, s.config.Remote),
		Arguments: append([]string{"service", "run"}, s.arguments...),
	}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s is installed and runs; its log is %s\n", winservice.Name(s.port), winservice.LogFile(s.port))
	return err
}

func uninstallService(c *cli.Context, s attachService) error {
	gone, err := winservice.Uninstall(c.Context, s.port)
	if err != nil {
		return err
	}
	state := "is uninstalled"
	if !gone {
		state += ", and disappears when the window Services is closed"
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s %s; its log stays in %s\n", winservice.Name(s.port), state, winservice.LogFile(s.port))
	return err
}

func startService(c *cli.Context, s attachService) error { return winservice.Start(c.Context, s.port) }

func stopService(c *cli.Context, s attachService) error { return winservice.Stop(c.Context, s.port) }

func serviceStatus(w io.Writer, port string) error { return winservice.WriteStatus(w, port) }

// runService runs in the process that the service manager starts.
func runService(_ *cli.Context, s attachService) error {
	err := winservice.Run(winservice.Process{Port: s.port, Verbose: s.verbose, Attach: s.attach, Status: status})
	if errors.Is(err, winservice.ErrNotStarted) {
		return usagef("service run: only Windows can start it (telnetcpc service start %s; or telnetcpc attach, in the foreground)", s.port)
	}
	return err
}

// attach runs attach in a service. If the driver is not loaded yet while Windows starts, it fails, and the service
// manager restarts the service.
func (s attachService) attach(ctx context.Context, log *slog.Logger, ready chan<- winservice.Sleeper) error {
	p := s.config
	var err error
	if p.Host, _, err = chooseHost(hosts(), s.host); err != nil {
		return err
	}
	if err := preparePort(ctx, p, log); err != nil {
		return err
	}
	b, err := agent.NewBridge(p, log)
	if err != nil {
		return err
	}
	ready <- b
	return b.Run(ctx)
}
