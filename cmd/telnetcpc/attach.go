package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/agent"
	"telnetcpc/bridge/capture"
	"telnetcpc/bridge/remote"
)

func attachCommand() *cli.Command {
	flags := append(portFlags(), &cli.BoolFlag{Name: "v"})
	return command("attach", helpAttach, flags, func(c *cli.Context) error {
		args, err := arguments(c, "PORT", "URL")
		if err != nil {
			return err
		}
		p, err := portOf(c, args[0], args[1])
		if err != nil {
			return err
		}
		log := newLog(errOut, c.Bool("v"))
		host, passedOver, err := chooseHost(hosts(), c.String("host"))
		if err != nil {
			return usageError{err}
		}
		for _, reason := range passedOver {
			log.Info("a better port host does not work here", "taken", host.Name(), "because", reason)
		}
		p.Host = host
		outliveReaders()
		return attach(c.Context, p, c.Bool("v"), log)
	})
}

func attach(ctx context.Context, p agent.Port, verbose bool, log *slog.Logger) error {
	if err := preparePort(ctx, p, log); err != nil {
		return err
	}
	b, err := agent.NewBridge(p, log)
	if err != nil {
		return usageError{err}
	}
	warnUnknownHost(ctx, p, func(err error) { log.Warn("the remote's name cannot be resolved now", "port", p.Name(), "err", err) })
	if verbose {
		stop := capture.Lines(b, errOut)
		defer stop()
	}
	defer obeySleep(b)()
	return b.Run(ctx)
}

// warnUnknownHost logs at the start what would otherwise be found only when an application opens the port: a misspelt
// name, or a name server that is down. It is not an error, because the name may resolve later.
func warnUnknownHost(ctx context.Context, p agent.Port, warn func(error)) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err := net.DefaultResolver.LookupHost(ctx, p.Remote.Host)
	if trouble := remote.NameTrouble(err, p.Remote.Host); trouble != "" {
		err = errors.New(trouble)
	}
	if err != nil {
		warn(err)
	}
}
