package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/accessserver"
)

// defaultListen is where an access server listens: IANA's port for telnetcpcd, this machine only.
const defaultListen = "127.0.0.1:3696"

func serveCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "listen", Value: defaultListen},
		&cli.StringFlag{Name: "simulate"},
		&cli.StringFlag{Name: "inject"},
		&cli.BoolFlag{Name: "v"},
	}
	return command("serve", helpServe, flags, func(c *cli.Context) error {
		device, err := simulated(c)
		if err != nil {
			return err
		}
		return serve(c.Context, c.String("listen"), device, c.Bool("v"))
	})
}

// simulated reads which UART is to be served. Every error is wrong use.
func simulated(c *cli.Context) (*accessserver.Loopback, error) {
	if c.NArg() > 0 {
		args, err := arguments(c, "DEVICE")
		if err != nil {
			return nil, err
		}
		return nil, usagef("serve: %q: a real serial port cannot be served yet (--simulate loopback serves a simulated one)", args[0])
	}
	switch what := c.String("simulate"); what {
	case "loopback":
	case "":
		return nil, usagef("serve: it is not said what to serve (telnetcpc serve --simulate loopback)")
	default:
		return nil, usagef("serve: --simulate %q: want loopback", what)
	}
	script, err := readInject(c.String("inject"))
	if err != nil {
		return nil, usagef("serve: --inject %w", err)
	}
	return &accessserver.Loopback{Inject: script}, nil
}

// readInject reads an inject file; no name, no injections. The error names the file.
func readInject(name string) ([]accessserver.Injection, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return nil, fmt.Errorf("%s: %w (telnetcpc serve --help shows what stands in such a file)", name, err)
	}
	defer f.Close()
	return accessserver.ParseInject(name, f)
}

func serve(ctx context.Context, listen string, device *accessserver.Loopback, verbose bool) error {
	log := newLog(stderr(), verbose)
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", listen)
	if err != nil {
		return notListening(listen, err)
	}
	log.Info("listening", "address", l.Addr().String(), "device", "simulated UART (loopback)")
	return accessserver.New(accessserver.Config{Open: device.Open, Log: log}).Serve(ctx, l)
}

// notListening says why an address cannot be listened on, and the way out.
func notListening(listen string, err error) error {
	var address *net.AddrError
	var name *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &address), errors.As(err, &name):
		return usagef("serve: --listen %q: want HOST:PORT, or :PORT for every address of this machine, as in %s", listen, defaultListen)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("serve: listen %s: address already in use (another access server? --listen HOST:PORT takes another port)", listen)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("serve: listen %s: this machine has no such address (--listen :PORT takes all that it has)", listen)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("serve: listen %s: permission denied (ports below 1024 are root's: --listen HOST:PORT takes another port)", listen)
	case errors.As(err, &op):
		return fmt.Errorf("serve: listen %s: %w", listen, op.Err)
	}
	return fmt.Errorf("serve: listen %s: %w", listen, err)
}
