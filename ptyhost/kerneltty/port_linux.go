package kerneltty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/ftdi"
	"telnetcpc/ptyhost/devpath"
	"telnetcpc/ptyhost/logind"
)

// port is one emulated adapter, plugged in, and the tty that the kernel makes of it. The chip carries the bytes and settings.
type port struct {
	*ftdi.Chip
	system system
	claim  *devpath.Claim // on the path
	access devpath.Access // of the device
	log    *slog.Logger

	running context.Context // ended by Close
	end     context.CancelFunc

	plugging sync.Mutex                 // serialises plugging in, unplugging and check
	asleep   bool                       // unplugged by Sleep; guarded by plugging
	now      atomic.Pointer[attachment] // the last one; nil: none has begun
	failed   atomic.Pointer[error]      // why it could not be made ready again

	changed   chan struct{}  // one slot: the device may have changed; see wake
	attending sync.WaitGroup // attend's goroutine

	closing  sync.Once
	closed   atomic.Bool
	closeErr error // from releasing the claim; constant after closing
}

// attachment is the adapter from being plugged in to being unplugged.
type attachment struct {
	device  string              // the device's directory in sysfs; empty: it was not made
	gone    chan struct{}       // closed when it is unplugged
	leaving atomic.Bool         // we unplug it, and may plug it in again
	tty     atomic.Pointer[tty] // the last one; nil: the driver has made none

	// Guarded by port.plugging.
	unbound bool   // the driver has released it: tty does not exist any more
	seen    uint64 // a time (see clock) at which the next tty did not exist yet
}

func (a *attachment) isGone() bool {
	select {
	case <-a.gone:
		return true
	default:
		return false
	}
}

// name is the tty's name, for logs and errors; empty: there is none.
func (a *attachment) name() string {
	if t := a.tty.Load(); t != nil {
		return t.name
	}
	return ""
}

var (
	_ uart.Port      = (*port)(nil)
	_ logind.Sleeper = (*port)(nil)
)

// newPort returns a port that is not plugged in yet.
func newPort(s system, claim *devpath.Claim, access devpath.Access, config uart.PortConfig) *port {
	p := &port{system: s, claim: claim, access: access, log: config.Log, changed: make(chan struct{}, 1), Chip: ftdi.New(config, filepath.Base(claim.Path()), config.Log)}
	p.running, p.end = context.WithCancel(context.Background())
	return p
}

// plugIn plugs the chip in and makes a port of its tty. If it fails, Close removes what was made.
func (p *port) plugIn(ctx context.Context) error {
	vhci, err := p.system.ready(ctx)
	if err != nil {
		return err
	}
	if err := p.system.register(ftdi.VendorID, ftdi.ProductID); err != nil {
		return err
	}
	p.Mute() // until the tty is ready, all that happens to it comes from here
	a, err := p.attachAgain(ctx, func() (*attachment, error) { return p.attach(ctx, vhci) })
	if err != nil {
		return fmt.Errorf("plug in the device: %w", err)
	}
	return p.makeReady(ctx, a, a.tty.Load())
}

// plugTries is how often a device is plugged in that the kernel makes nothing of. The kernel gives a device up, for good, after
// it has not answered a few times within 5 s; on a busy machine that may happen to a good device.
const plugTries = 2

// attachAgain attaches, and plugs the device in once more if the kernel has given it up.
func (p *port) attachAgain(ctx context.Context, attach func() (*attachment, error)) (a *attachment, err error) {
	for try := range plugTries {
		if try > 0 {
			p.log.Warn("plugging the device in again", "why", err)
			p.unplug(ctx)
		}
		if a, err = attach(); !errors.Is(err, errNoProgress) {
			break
		}
	}
	return a, err
}

// attach makes the wire, gives the kernel one end, and waits for the tty.
func (p *port) attach(ctx context.Context, vhci string) (*attachment, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	a := &attachment{gone: make(chan struct{}), seen: clock()}
	go p.serve(a, ours)
	a.device, err = p.system.plug(ctx, vhci, theirs)
	_ = unix.Close(theirs)
	if err == nil {
		var t *tty
		t, err = p.system.tty(ctx, a.device, a.gone, p.Requests)
		a.tty.Store(t)
	}
	p.now.Store(a)
	return a, err
}

// serve is the device's goroutine, which attach starts; it ends when the device is unplugged. If this process did not unplug
// it, the port is lost for good, and Next returns an error.
func (p *port) serve(a *attachment, wire io.ReadWriteCloser) {
	defer close(a.gone)
	if err := p.Serve(wire); err != nil && !errors.Is(err, uart.ErrClosed) {
		p.log.Error("the USB device's connection to the kernel failed", "err", err)
	}
	if !a.leaving.Load() {
		p.unlink()
		_ = p.Chip.Close()
	}
}

// closePatience is how long Close waits for the kernel.
const closePatience = 10 * time.Second

// unplug unplugs the adapter, and waits until the kernel has removed its device, as long as the kernel makes progress and ctx
// has not ended; the caller holds plugging.
func (p *port) unplug(ctx context.Context) {
	a := p.now.Load()
	if a == nil {
		return
	}
	a.leaving.Store(true)
	p.Unplug()
	<-a.gone
	if a.device == "" {
		return
	}
	began := time.Now()
	ctx, cancel := p.system.whileProgress(ctx, plugPatience, nil, usbShown)
	defer cancel()
	err := poll(ctx, func() (bool, error) { return !exists(a.device), nil })
	if errors.Is(err, errNoProgress) || errors.Is(err, context.DeadlineExceeded) {
		p.log.Warn("the kernel has not removed the USB device", "device", a.name(), "waited", time.Since(began).Round(time.Second))
	}
}

// Sleep implements logind.Sleeper: vhci_hcd does not let the machine sleep while it has a device. To the application the adapter
// is unplugged. Close ends its wait.
func (p *port) Sleep() {
	p.plugging.Lock()
	defer p.plugging.Unlock()
	if p.closed.Load() || p.asleep {
		return
	}
	p.asleep = true
	p.log.Info("unplugged: the machine goes to sleep", "device", p.Name())
	p.unlink()
	p.unplug(p.running)
}

// Wake implements logind.Sleeper. A port that cannot be plugged in again is lost for good, and Next returns why.
func (p *port) Wake() {
	p.plugging.Lock()
	defer p.plugging.Unlock()
	if p.closed.Load() || !p.asleep {
		return
	}
	p.asleep = false
	if err := p.plugIn(p.running); err != nil {
		err = fmt.Errorf("not plugged in again after the machine's sleep: %w", err)
		p.failed.Store(&err)
		_ = p.Chip.Close()
		return
	}
	p.log.Info("plugged in again: the machine has woken", "device", p.Name())
}

// socketPair returns the two ends of a stream: one for Go's netpoller, one as a descriptor for the kernel, to be closed.
func socketPair() (ours io.ReadWriteCloser, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("socketpair: %w", err)
	}
	file := os.NewFile(uintptr(fds[0]), "usbip")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		_ = unix.Close(fds[1])
		return nil, -1, err
	}
	return conn, fds[1], nil
}

// Next implements uart.Port.
func (p *port) Next() ([]byte, uart.Event, error) {
	b, e, err := p.Chip.Next()
	if !errors.Is(err, uart.ErrClosed) || p.closed.Load() {
		return b, e, err
	}
	if why := p.failed.Load(); why != nil {
		return nil, e, fmt.Errorf("port %s: %w", p.claim.Path(), *why)
	}
	return nil, e, fmt.Errorf("port %s: the kernel has removed the device %s (unplugged by usbip detach? see dmesg)", p.claim.Path(), p.Name())
}

// Name implements uart.Port: the tty's device, which is also its name in /sys/class/tty. After the machine's sleep, or
// after the driver has released the adapter, it may be another one, if a program still has the old one open.
func (p *port) Name() string {
	a := p.now.Load()
	if a == nil {
		return ""
	}
	return "/dev/" + a.name()
}

// Retire implements uart.Port.
func (p *port) Retire() error { return p.claim.Release() }

// Close implements uart.Port. The application's reads return end of file and its writes EIO, as on a USB adapter that
// was unplugged, which it is. It returns when the kernel has removed the device, so that the next one gets the same name
// unless an application has it open; otherwise after closePatience. It must not be called from Urgent.
func (p *port) Close() error {
	p.closing.Do(func() {
		p.closed.Store(true)
		p.end()
		_ = p.Chip.Close()
		p.system.sleep.Remove(p) // waits for a Sleep or Wake in progress
		changes.remove(p)
		p.attending.Wait()
		p.plugging.Lock()
		defer p.plugging.Unlock()
		p.closeErr = p.claim.Release()
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		p.unplug(ctx)
	})
	return p.closeErr
}
