package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/probe"
	"telnetcpc/bridge/remote"
)

func probeCommand() *cli.Command {
	flags := append(tlsFlags(),
		&cli.BoolFlag{Name: "json"},
		&cli.DurationFlag{Name: "timeout", Value: probe.DefaultTimeout},
		&cli.BoolFlag{Name: "thorough"},
	)
	return command("probe", helpProbe, flags, func(c *cli.Context) error {
		o := probe.Options{Timeout: c.Duration("timeout"), Thorough: c.Bool("thorough")}
		if o.Timeout <= 0 {
			return usagef("--timeout %v: want a time above 0, as in 500ms or 10s", o.Timeout)
		}
		if c.NArg() == 0 {
			if tlsOf(c) != (remote.TLS{}) {
				return usagef("probe: the tls flags need a URL: rfc2217+tls://HOST (telnetcpc probe --help)")
			}
			return probeHere(c.Context, c.App.Writer, ianaPort, o, c.Bool("json"))
		}
		args, err := arguments(c, "URL")
		if err != nil {
			return err
		}
		url, err := remote.Parse(args[0])
		if err != nil {
			return usageError{err}
		}
		far, err := remote.New(url, remote.Options{TLS: tlsOf(c)})
		if err != nil {
			return usageError{err}
		}
		return probeOne(c.Context, c.App.Writer, far, o, c.Bool("json"))
	})
}

func probeOne(ctx context.Context, w io.Writer, far *remote.Remote, o probe.Options, asJSON bool) error {
	report, err := probe.Run(ctx, far, o)
	switch {
	case err != nil && ctx.Err() != nil:
		return err // interrupted
	case err != nil:
		return statusError{err, exitNoRemote}
	}
	if err := printReport(w, report, asJSON); err != nil {
		return err
	}
	if !report.AccessServer {
		return statusError{fmt.Errorf("%s: %w", far, remote.ErrNotAccessServer), exitFailed}
	}
	return nil
}

func printReport(w io.Writer, r *probe.Report, asJSON bool) error {
	if !asJSON {
		return r.WriteText(w)
	}
	return printJSON(w, r)
}

// printJSON prints one JSON document, for programs.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
