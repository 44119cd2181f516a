package main

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge"
	"telnetcpc/bridge/agent"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/uart"
)

// portFlags returns the flags of a port, named as in the configuration file.
func portFlags() []cli.Flag {
	return append(tlsFlags(),
		&cli.StringFlag{Name: "host", Value: "auto"},
		&cli.StringFlag{Name: "connect"},
		&cli.DurationFlag{Name: "linger"},
		&cli.DurationFlag{Name: "open-wait"},
		&cli.StringFlag{Name: "on-loss"},
		&cli.StringFlag{Name: "hold-for"},
		&cli.StringFlag{Name: "line"},
		&cli.StringFlag{Name: "baud"},
		&cli.StringFlag{Name: "flow"},
		&cli.StringFlag{Name: "dcd"},
		&cli.StringFlag{Name: "mode"},
		&cli.StringFlag{Name: "owner"},
		&cli.StringFlag{Name: "group"},
		&cli.DurationFlag{Name: "ack-timeout"},
		&cli.StringSliceFlag{Name: "quirk"},
	)
}

// tlsFlags returns the flags of rfc2217+tls://, named as those of a port.
func tlsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "tls-ca"},
		&cli.StringFlag{Name: "tls-name"},
		&cli.StringFlag{Name: "tls-cert"},
		&cli.StringFlag{Name: "tls-key"},
		&cli.BoolFlag{Name: "tls-insecure"},
	}
}

func tlsOf(c *cli.Context) remote.TLS {
	return remote.TLS{
		CAFile: c.String("tls-ca"), Name: c.String("tls-name"), CertFile: c.String("tls-cert"),
		KeyFile: c.String("tls-key"), Insecure: c.Bool("tls-insecure"),
	}
}

// portOf parses a port's flags except --host. Every error is a usage error and names its flag.
func portOf(c *cli.Context, path, url string) (agent.Port, error) {
	p := agent.Port{
		Path: portPath(path), Owner: c.String("owner"), Group: c.String("group"), TLS: tlsOf(c),
	}
	for _, f := range []func(*cli.Context, *agent.Port) error{readPolicy, readPinned, readMode, readTimes, readQuirks} {
		if err := f(c, &p); err != nil {
			return p, usageError{err}
		}
	}
	var err error
	if p.Remote, err = remote.Parse(url); err != nil {
		return p, usageError{err}
	}
	return p, nil
}

func readPolicy(c *cli.Context, p *agent.Port) (err error) {
	if p.Policy.Connect, err = bridge.ParseConnect(c.String("connect")); err != nil {
		return fmt.Errorf("--%w", err)
	}
	if p.Policy.OnLoss, err = bridge.ParseOnLoss(c.String("on-loss")); err != nil {
		return fmt.Errorf("--%w", err)
	}
	if p.Policy.DCD, err = bridge.ParseDCD(c.String("dcd")); err != nil {
		return fmt.Errorf("--%w", err)
	}
	return nil
}

// readPinned parses the flags that override the application's settings: --line, --baud, --flow.
func readPinned(c *cli.Context, p *agent.Port) error {
	if s := c.String("line"); s != "" {
		coding, err := uart.ParseCoding(s)
		if err != nil {
			return fmt.Errorf("--line: %w", err)
		}
		p.Policy.Coding = coding
	}
	if s := c.String("baud"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n == 0 {
			return fmt.Errorf("--baud %q: want a number from 1 to 4294967295", s)
		}
		p.Policy.Coding.Baud = uint32(n)
	}
	if s := c.String("flow"); s != "" {
		flow, err := uart.ParseFlow(s)
		if err != nil {
			return fmt.Errorf("--flow: %w", err)
		}
		p.Policy.Flow = flow
	}
	return nil
}

func readMode(c *cli.Context, p *agent.Port) error {
	s := c.String("mode")
	if s == "" {
		return nil
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n == 0 || n > 0o777 {
		return fmt.Errorf("--mode %q: want permission bits in octal, as in 660", s)
	}
	p.Mode = fs.FileMode(n)
	return nil
}

func readTimes(c *cli.Context, p *agent.Port) error {
	for name, to := range map[string]**time.Duration{"linger": &p.Policy.Linger, "open-wait": &p.Policy.OpenWait} {
		if !c.IsSet(name) {
			continue
		}
		d := c.Duration(name)
		if d < 0 {
			return fmt.Errorf("--%s %v: want a time from 0, as in 500ms or 2s", name, d)
		}
		*to = &d
	}
	if p.AckTimeout = c.Duration("ack-timeout"); p.AckTimeout < 0 || p.AckTimeout == 0 && c.IsSet("ack-timeout") {
		return fmt.Errorf("--ack-timeout %v: want a time above 0, as in 500ms or 2s", p.AckTimeout)
	}
	return readHoldFor(c, p)
}

// readHoldFor parses a duration, or the word forever.
func readHoldFor(c *cli.Context, p *agent.Port) error {
	s := c.String("hold-for")
	switch s {
	case "":
		return nil
	case "forever":
		p.Policy.HoldFor = new(bridge.Forever)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("--hold-for %q: want a time from 0, as in 500ms or 2s, or forever", s)
	}
	p.Policy.HoldFor = &d
	return nil
}

// complete prints the possible completions at the cursor: the names of quirks after --quirk, else commands and flags.
func complete(c *cli.Context) {
	if n := len(os.Args); n < 2 || os.Args[n-2] != "--quirk" {
		cli.DefaultCompleteWithFlags(c.Command)(c)
		return
	}
	for _, q := range remote.AllQuirks() {
		fmt.Fprintln(c.App.Writer, q.Name)
	}
}

func readQuirks(c *cli.Context, p *agent.Port) (err error) {
	if p.Quirks, err = remote.ParseQuirks(c.StringSlice("quirk")...); err != nil {
		return fmt.Errorf("--quirk %w", err)
	}
	return nil
}
