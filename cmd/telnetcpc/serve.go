package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"github.com/urfave/cli/v2"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/serialport"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/tcp"
)

// defaultListen is the address on which an access server listens by default: IANA's port for telnetcpcd, from this
// machine only.
const defaultListen = "127.0.0.1:3696"

// maxWatchers is the largest --watchers, because each watching client costs memory.
const maxWatchers = 100

func serveCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "listen", Value: defaultListen},
		&cli.StringFlag{Name: "simulate"},
		&cli.StringFlag{Name: "inject"},
		&cli.StringSliceFlag{Name: "allow"},
		&cli.StringFlag{Name: "tls-cert"},
		&cli.StringFlag{Name: "tls-key"},
		&cli.StringFlag{Name: "tls-client-ca"},
		&cli.IntFlag{Name: "watchers"},
		&cli.BoolFlag{Name: "v"},
	}
	return command("serve", helpServe, flags, func(c *cli.Context) error {
		what, err := parseServed(c)
		if err != nil {
			return err
		}
		what.config.Watchers = c.Int("watchers")
		if n := what.config.Watchers; n < 0 || n > maxWatchers {
			return usagef("serve: --watchers %d: want 0 to %d", n, maxWatchers)
		}
		if err := readClients(c, &what); err != nil {
			return err
		}
		outliveReaders()
		return serve(c.Context, c.String("listen"), what, c.Bool("v"))
	})
}

// readClients parses which clients are accepted: --allow and the tls flags. Every error is a usage error and names its
// flag.
func readClients(c *cli.Context, what *served) error {
	for _, name := range []string{"allow", "tls-cert", "tls-key", "tls-client-ca"} {
		if c.IsSet(name) && (name == "allow" && len(c.StringSlice(name)) == 0 || name != "allow" && c.String(name) == "") {
			return usagef("serve: --%s is empty (an unset variable? give it a value, or omit it)", name)
		}
	}
	for _, s := range c.StringSlice("allow") {
		r, err := accessserver.ParseRange(s)
		if err != nil {
			return usagef("serve: --allow %w", err)
		}
		what.config.Allow = append(what.config.Allow, r)
	}
	files := accessserver.TLSFiles{Cert: c.String("tls-cert"), Key: c.String("tls-key"), ClientCA: c.String("tls-client-ca")}
	if files == (accessserver.TLSFiles{}) {
		return nil
	}
	var err error
	if what.config.TLS, err = accessserver.LoadTLS(files); err != nil {
		return usagef("serve: --%w", err)
	}
	what.needsCert = files.ClientCA != ""
	return nil
}

// served is the UART that is served to clients.
type served struct {
	name      string           // for the log
	missing   string           // the features that it lacks, for the log
	port      *serialport.Port // nil: it is simulated
	config    accessserver.Config
	needsCert bool // clients must have a certificate
}

// clientFields returns the log fields for which clients are accepted; none if any client is, without TLS.
func (s served) clientFields() (fields []any) {
	switch {
	case s.needsCert:
		fields = append(fields, "tls", "for clients with a certificate")
	case s.config.TLS != nil:
		fields = append(fields, "tls", "for any client")
	}
	if len(s.config.Allow) > 0 {
		fields = append(fields, "allow", fmt.Sprint(s.config.Allow))
	}
	return fields
}

// open reports whether any client is accepted.
func (s served) open() bool { return len(s.config.Allow) == 0 && !s.needsCert }

// parseServed parses which UART to serve, and checks a real one. Errors are usage errors, except those of a real UART.
func parseServed(c *cli.Context) (served, error) {
	simulate, inject := c.String("simulate"), c.String("inject")
	switch {
	case c.NArg() > 0:
		args, err := arguments(c, "DEVICE")
		if err != nil {
			return served{}, err
		}
		if simulate != "" || inject != "" {
			return served{}, usagef("serve: %s is a real UART: --simulate and --inject are for a simulated one (omit one or the other)", args[0])
		}
		return device(args[0])
	case simulate == "":
		return served{}, usagef("serve: no device is given (telnetcpc serve /dev/ttyUSB0, or --simulate loopback)")
	}
	return simulated(simulate, inject)
}

// device returns a real serial port, which must exist and be free now. Later it may be unplugged and plugged in again.
func device(path string) (served, error) {
	port := &serialport.Port{Path: path}
	missing, err := port.Check()
	if err != nil {
		return served{}, fmt.Errorf("serve: %w", err)
	}
	return served{name: path, missing: missing, port: port, config: accessserver.Config{Open: port.Open, Present: port.Present}}, nil
}

// simulated returns a simulated UART.
func simulated(what, inject string) (served, error) {
	script, err := readInject(inject)
	if err != nil {
		return served{}, usagef("serve: --inject %w", err)
	}
	s := served{name: "simulated UART (" + what + ")"}
	switch what {
	case "loopback":
		s.config.Open = (&simulate.Loopback{Inject: script}).Open
	case "reporter":
		s.config.Open = (&simulate.Reporter{Loopback: simulate.Loopback{Inject: script}}).Open
	default:
		return served{}, usagef("serve: --simulate %q: want loopback or reporter", what)
	}
	return s, nil
}

// readInject reads an inject file; without a name there are no injections. The error names the file.
func readInject(name string) ([]simulate.Injection, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return nil, fmt.Errorf("%s: %w (telnetcpc serve --help shows the format)", name, err)
	}
	defer f.Close()
	return simulate.ParseInject(name, f)
}

func serve(ctx context.Context, listen string, what served, verbose bool) error {
	log := newLog(errOut, verbose)
	l, err := tcp.Listen(ctx, listen)
	if err != nil {
		return notListening(listen, err)
	}
	log.Info("listening", append([]any{"address", l.Addr().String(), "device", what.name}, what.clientFields()...)...)
	if here, ok := l.Addr().(*net.TCPAddr); ok && !here.IP.IsLoopback() && what.open() {
		log.Warn("anyone who reaches this address can use the device", "address", here.String(),
			"hint", "--allow CIDR accepts some addresses only; --tls-cert, --tls-key and --tls-client-ca only clients with a certificate; --listen "+defaultListen+" only this machine")
	}
	if what.missing != "" {
		log.Warn("the device lacks some features", "device", what.name, "missing", what.missing)
	}
	what.config.Log = log
	if what.port != nil {
		what.port.Log = log
	}
	return accessserver.New(what.config).Serve(ctx, l)
}

// notListening returns the error for an address on which the server cannot listen, with the remedy.
func notListening(listen string, err error) error {
	var address *net.AddrError
	var name *net.DNSError
	var op *net.OpError
	host, _, split := net.SplitHostPort(listen)
	trouble := remote.NameTrouble(err, host)
	switch {
	case errors.As(err, &name) && split == nil && name.Name == host && name.IsNotFound:
		return usagef("serve: --listen %q: %s", listen, trouble)
	case errors.As(err, &name) && split == nil && name.Name == host:
		return fmt.Errorf("serve: listen %s: %s", listen, trouble)
	case errors.As(err, &address), errors.As(err, &name): // the port may also be a name
		return usagef("serve: --listen %q: want HOST:PORT, or :PORT for every address of this machine, as in %s", listen, defaultListen)
	case errors.Is(err, tcp.ErrAddressInUse):
		return fmt.Errorf("serve: listen %s: address already in use (another access server? --listen HOST:PORT uses another port)", listen)
	case errors.Is(err, tcp.ErrNoSuchAddress):
		return fmt.Errorf("serve: listen %s: this machine has no such address (--listen :PORT uses all that it has)", listen)
	case errors.Is(err, tcp.ErrDenied):
		return fmt.Errorf("serve: listen %s: permission denied (%s: --listen HOST:PORT uses another port)", listen, tcp.WhyDenied)
	case errors.As(err, &op):
		return fmt.Errorf("serve: listen %s: %w", listen, op.Err)
	}
	return fmt.Errorf("serve: listen %s: %w", listen, err)
}
