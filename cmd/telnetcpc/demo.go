package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/agent"
	"telnetcpc/bridge/asynclog"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/uart"
)

const (
	// demoLinger is short, so that the end of the proof's session can be shown too.
	demoLinger = 100 * time.Millisecond
	// demoPatience is how long one step of the proof may take.
	demoPatience = 30 * time.Second
	// sightsKept is how many things of the far UART may wait to be shown before some are lost.
	sightsKept = 4096
	// gather is how long bytes gather to be shown together.
	gather = 100 * time.Millisecond
)

func demoCommand() *cli.Command {
	flags := []cli.Flag{&cli.StringFlag{Name: "port"}, &cli.BoolFlag{Name: "once"}}
	return command("demo", helpDemo, flags, func(c *cli.Context) error {
		if _, err := arguments(c); err != nil {
			return err
		}
		ctx, stop := untilReaderGone(c.Context)
		defer stop()
		return demo(ctx, c.App.Writer, c.String("port"), c.Bool("once"))
	})
}

// demonstration is an access server with a simulated UART, a port joined to it, and somebody who watches both.
type demonstration struct {
	out  *asynclog.Writer
	host string // the port host's name
	flow bool   // it carries the choice of flow control
	path string // where the port appears

	device chan string // one slot: the device that the path leads to, once it is there
	far    sights
}

// demo runs the demonstration: it proves itself, and unless once goes on showing what other programs do with the port,
// until ctx ends.
func demo(ctx context.Context, out io.Writer, path string, once bool) error {
	host, _, err := chooseHost(demoHosts(), "auto")
	if err != nil {
		return statusError{fmt.Errorf("demo: %w", err), exitPort}
	}
	if path == "" {
		var remove func()
		if path, remove, err = demoPort(); err != nil {
			return statusError{fmt.Errorf("demo: %w", err), exitPort}
		}
		defer remove()
	}
	l, err := tcp.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("demo: access server: %w", err)
	}
	shown := asynclog.New(out, func(n uint64, _ error) []byte { return fmt.Appendf(nil, tooSlow, n) })
	defer shown.Close(sayPatience)
	d := &demonstration{
		out: shown, host: host.Name(), flow: host.Fidelity().Carries(uart.CarriesFlow), path: path,
		device: make(chan string, 1), far: sights{wake: make(chan struct{}, 1)},
	}
	return d.run(ctx, l, host, once)
}

// demoHosts are the port hosts that a program may open its own ports of. That of kernel ttys is none: killed meanwhile, the
// process would wait in the kernel for an answer that it alone could give.
func demoHosts() []uart.Host {
	return slices.DeleteFunc(hosts(), func(h uart.Host) bool { return h.Name() == "kernel" })
}

// run starts server, port and spectator, and ends when the first of them does.
func (d *demonstration) run(ctx context.Context, l net.Listener, host uart.Host, once bool) error {
	log := slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelWarn}))
	device := &simulate.Loopback{}
	device.Observe(d.far.observe)
	url, err := remote.Parse("rfc2217://" + l.Addr().String())
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	p := agent.Port{Path: d.path, Remote: url, Host: noting{host, d.device}}
	p.Policy.Linger = new(demoLinger)
	b, err := agent.NewBridge(p, log)
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintf(d.out, "access server at %s with a simulated UART, a loop plug in it\n", l.Addr())

	outside := ctx
	all, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancel(ctx)
	defer end()
	all.Go(func() error { // ends with ctx
		return accessserver.New(accessserver.Config{Open: device.Open, Log: log}).Serve(ctx, l)
	})
	all.Go(func() error { return b.Run(ctx) }) // ends with ctx
	all.Go(func() error {                      // ends with the proof, under once; else with ctx
		defer end()
		return d.show(ctx, once)
	})
	err = all.Wait()
	if outside.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("demo: interrupted before the proof was complete")
	}
	return err
}

// noting is a port host that tells which device a port has, as soon as it is there.
type noting struct {
	uart.Host
	device chan<- string
}

func (h noting) Open(ctx context.Context, config uart.PortConfig) (uart.Port, error) {
	p, err := h.Host.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	select {
	case h.device <- p.Name():
	default: // opened again: the first is known
	}
	return p, nil
}

// sight is one thing that the far UART did.
type sight struct {
	at     time.Time
	event  uart.Event
	data   []byte // KindData: what left the UART
	coding uart.Coding
}

func (s sight) String() string {
	switch s.event.Kind {
	case uart.KindData:
		return fmt.Sprintf("data %d %s", len(s.data), quote(s.data))
	case uart.KindOpened:
		return "session opened"
	case uart.KindClosed:
		return "session closed"
	}
	return s.event.String()
}

// sights are what the far UART did and nobody has looked at yet.
type sights struct {
	wake chan struct{} // one slot: there is something

	mu    sync.Mutex // over queue and lost
	queue []sight
	lost  int // there was no room for these
}

// observe takes what the far UART did; bytes that nobody has looked at yet grow. It never blocks: the line stands still
// meanwhile.
func (w *sights) observe(r simulate.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.queue) - 1; n >= 0 && r.Event.Kind == uart.KindData {
		if last := &w.queue[n]; last.event.Kind == uart.KindData && last.coding == r.Coding && len(last.data) < quoteMost {
			last.data = append(last.data, r.Data...)
			return
		}
	}
	if len(w.queue) == sightsKept {
		w.lost++
		return
	}
	w.queue = append(w.queue, sight{time.Now(), r.Event, append([]byte(nil), r.Data...), r.Coding})
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next waits for the next thing that the far UART does; bytes gather first. lost is how many before it are missing; ok is
// false when ctx has ended.
func (w *sights) next(ctx context.Context) (s sight, lost int, ok bool) {
	for {
		var gathered <-chan time.Time
		w.mu.Lock()
		if len(w.queue) > 0 {
			s = w.queue[0]
			age := time.Since(s.at)
			if len(w.queue) > 1 || s.event.Kind != uart.KindData || age >= gather {
				lost, w.queue, w.lost = w.lost, w.queue[1:], 0
				w.mu.Unlock()
				return s, lost, true
			}
			gathered = time.After(gather - age)
		}
		w.mu.Unlock()
		select {
		case <-w.wake:
		case <-gathered:
		case <-ctx.Done():
			return s, 0, false
		}
	}
}

// show is the demonstration as it is seen.
func (d *demonstration) show(ctx context.Context, once bool) error {
	var device string
	select {
	case device = <-d.device:
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Fprintf(d.out, "serial port %s (%s) joined to it\n\n", device, d.host)
	if err := d.prove(ctx, device); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nproven: what the application did is what the far UART saw\n")
	if once {
		return nil
	}
	fmt.Fprintf(d.out, `
Now try it yourself, in another terminal:

    %s

What your program does to the far UART is shown here; what it writes comes back
to it. Ctrl-C ends this.

`, fmt.Sprintf(demoTry, d.path))
	d.watch(ctx)
	return nil
}

// tooSlow is printed where something is not shown.
const tooSlow = "%d events were not shown: the terminal was too slow\n"

// watch prints a line for each thing that the far UART does, until ctx ends.
func (d *demonstration) watch(ctx context.Context) {
	for d.out.WaitRoom(ctx.Done()) {
		s, lost, ok := d.far.next(ctx)
		if !ok {
			return
		}
		if lost > 0 {
			fmt.Fprintf(d.out, tooSlow, lost)
		}
		fmt.Fprintf(d.out, "%s  %s\n", s.at.Format("15:04:05.000"), oneLine(s.String()))
	}
}
