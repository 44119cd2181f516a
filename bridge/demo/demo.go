// Package demo shows the whole program in one process: an access server with a simulated UART, a port joined to it, an
// application that uses the port, and the far UART's view of what the application did. It first proves that the two
// agree, then shows what other programs do with the port. It is handed the port host, and must know neither which hosts
// exist nor the syntax of a command line. Its caller is the command of the same name.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/agent"
	"telnetcpc/bridge/asynclog"
	"telnetcpc/bridge/escape"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/uart"
)

const (
	// linger is how long the session outlives the last close: short, so that the proof can show the session's end.
	linger = 100 * time.Millisecond
	// stepTimeout bounds one step of the proof.
	stepTimeout = 30 * time.Second
	// flushTimeout bounds how long Run waits at its end for a terminal that takes nothing.
	flushTimeout = time.Second
)

// Config is what a demonstration needs. All fields but Once are required.
type Config struct {
	Host uart.Host    // makes the port
	Path string       // where the port appears
	Once bool         // end after the proof
	Out  io.Writer    // gets the report; it may block, the demonstration goes on
	Log  *slog.Logger // of bridge and access server
}

// demonstration is one run.
type demonstration struct {
	Config
	out *asynclog.Writer // buffers for Config.Out

	device chan string // one slot: the device that the path leads to, once the port is open
	far    sights
}

// Run starts an access server on a free port of 127.0.0.1, a port joined to it, and the proof. Under Once it returns after
// the proof, otherwise when ctx ends. The error is nil if the proof succeeded, and otherwise names the step that failed; a
// *bridge.PortError means that the port could not be made.
func Run(ctx context.Context, config Config) error {
	l, err := tcp.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("demo: access server: %w", err)
	}
	out := asynclog.New(config.Out, func(n uint64, _ error) []byte { return fmt.Appendf(nil, notShown, n) })
	defer out.Close(flushTimeout)
	d := &demonstration{Config: config, out: out, device: make(chan string, 1), far: sights{wake: make(chan struct{}, 1)}}
	return d.run(ctx, l)
}

// run starts server, port and show, and returns when the first of them does.
func (d *demonstration) run(ctx context.Context, l net.Listener) error {
	device := &simulate.Loopback{}
	device.Observe(d.far.observe)
	url, err := remote.Parse("rfc2217://" + l.Addr().String())
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	p := agent.Port{Path: d.Path, Remote: url, Host: announcing{d.Host, d.device}}
	p.Policy.Linger = new(linger)
	b, err := agent.NewBridge(p, d.Log)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(d.out, "access server at %s with a simulated UART and a loopback plug\n", l.Addr())

	outside := ctx
	all, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancel(ctx)
	defer end()
	all.Go(func() error { // ends with ctx
		return accessserver.New(accessserver.Config{Open: device.Open, Log: d.Log}).Serve(ctx, l)
	})
	all.Go(func() error { return b.Run(ctx) }) // ends with ctx
	all.Go(func() error {                      // ends after the proof under Once, otherwise with ctx
		defer end()
		return d.show(ctx)
	})
	err = all.Wait()
	if outside.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("demo: interrupted before the proof was complete")
	}
	return err
}

// announcing is a port host that reports the device of the first port that it opens.
type announcing struct {
	uart.Host
	device chan<- string
}

func (h announcing) Open(ctx context.Context, config uart.PortConfig) (uart.Port, error) {
	p, err := h.Host.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	select {
	case h.device <- p.Name():
	default: // not the first
	}
	return p, nil
}

// show prints the proof and then, unless Once is set, what the far UART does until ctx ends.
func (d *demonstration) show(ctx context.Context) error {
	var device string
	select {
	case device = <-d.device:
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Fprintf(d.out, "serial port %s (%s) joined to it\n\n", device, d.Host.Name())
	if err := d.prove(ctx, device); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nproven: what the application did is what the far UART saw\n")
	if d.Once {
		return nil
	}
	fmt.Fprintf(d.out, `
Now try it yourself, in another terminal:

    %s

What your program does to the far UART is shown here; what it writes comes back
to it. Ctrl-C ends this.

`, fmt.Sprintf(example, d.Path))
	d.watch(ctx)
	return nil
}

// notShown is printed in the place of events that are missing.
const notShown = "%d events were not shown: the terminal was too slow\n"

// watch prints a line for each thing that the far UART does, until ctx ends.
func (d *demonstration) watch(ctx context.Context) {
	for d.out.WaitRoom(ctx.Done()) {
		s, lost, ok := d.far.next(ctx)
		if !ok {
			return
		}
		if lost > 0 {
			fmt.Fprintf(d.out, notShown, lost)
		}
		fmt.Fprintf(d.out, "%s  %s\n", s.at.Format("15:04:05.000"), escape.Line(s.String()))
	}
}
