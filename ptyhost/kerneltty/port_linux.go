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

// port is one emulated adapter, plugged in, and the tty that the kernel makes of it. What passes is the chip's business.
type port struct {
	*ftdi.Chip
	system system
	claim  *devpath.Claim // on the path
	who    devpath.Access // of the device
	log    *slog.Logger

	running context.Context // ended by Close
	end     context.CancelFunc

	plugging sync.Mutex                 // makes plugging in, unplugging and looking one after the other
	asleep   bool                       // unplugged by Sleep; plugging is held
	now      atomic.Pointer[attachment] // the last one; nil: none was begun
	failed   atomic.Pointer[error]      // why it could not be made ready again

	news      chan struct{} // one slot: something has become of the device
	attending sync.WaitGroup

	closing  sync.Once
	closed   atomic.Bool
	closeErr error // of the claim's release
}

// attachment is one stay of the adapter at the kernel, from being plugged in to being unplugged.
type attachment struct {
	device  string // the device's directory in sysfs; empty: it never came so far
	gone    chan struct{}
	leaving atomic.Bool         // we unplug it, and may plug it in again
	tty     atomic.Pointer[tty] // the last one; nil: the driver never came so far

	// While plugging is held.
	unbound bool   // the driver has let go of it: tty is not there any more
	seen    uint64 // a time, as clock says it, at which the next tty was not there yet
}

func (a *attachment) isGone() bool {
	select {
	case <-a.gone:
		return true
	default:
		return false
	}
}

// name is the tty's, for people.
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

// newPort makes a port that is not plugged in yet.
func newPort(s system, claim *devpath.Claim, who devpath.Access, config uart.PortConfig) *port {
	p := &port{system: s, claim: claim, who: who, log: config.Log, news: make(chan struct{}, 1), Chip: ftdi.New(config, filepath.Base(claim.Path()), config.Log)}
	p.running, p.end = context.WithCancel(context.Background())
	return p
}

// plugIn plugs the chip in and makes a port of its tty. What has been made when it fails Close takes away.
func (p *port) plugIn(ctx context.Context) error {
	vhci, err := p.system.ready(ctx)
	if err != nil {
		return err
	}
	if err := p.system.teach(ftdi.VendorID, ftdi.ProductID); err != nil {
		return err
	}
	p.Mute() // what happens until the tty is ready is our own doing
	a, err := p.attachAgain(ctx, func() (*attachment, error) { return p.attach(ctx, vhci) })
	if err != nil {
		return fmt.Errorf("plug in the device: %w", err)
	}
	return p.makeReady(ctx, a, a.tty.Load())
}

// plugTries is how often a device is plugged in of which the kernel makes nothing. It gives one up, for good, that has not
// answered a few times within 5 s, which on a machine that is busy enough says nothing of the device.
const plugTries = 2

// attachAgain attaches, and plugs the device in once more where the kernel has given it up.
func (p *port) attachAgain(ctx context.Context, attach func() (*attachment, error)) (a *attachment, err error) {
	for try := range plugTries {
		if try > 0 {
			p.log.Warn("the device is plugged in again", "why", err)
			p.unplug(ctx)
		}
		if a, err = attach(); !errors.Is(err, errStill) {
			break
		}
	}
	return a, err
}

// attach makes the wire, gives the kernel its end, and waits for the tty.
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

// serve plays the device. It is started by attach and ends when the device is unplugged. If that was not our doing, the
// port is lost for good, and Next says so.
func (p *port) serve(a *attachment, wire io.ReadWriteCloser) {
	defer close(a.gone)
	if err := p.Serve(wire); err != nil && !errors.Is(err, uart.ErrClosed) {
		p.log.Error("the USB device's wire failed", "err", err)
	}
	if !a.leaving.Load() {
		p.unlink()
		_ = p.Chip.Close()
	}
}

// closePatience is how long Close waits for the kernel: who closes a port has no more use for its name.
const closePatience = 10 * time.Second

// unplug takes the adapter out, and waits until the kernel has taken its device away, as long as it takes any, or ctx ends;
// plugging is held.
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
	ctx, cancel := p.system.whileMoving(ctx, plugPatience, nil, usbShown)
	defer cancel()
	err := poll(ctx, func() (bool, error) { return !exists(a.device), nil })
	if errors.Is(err, errStill) || errors.Is(err, context.DeadlineExceeded) {
		p.log.Warn("the kernel has not taken the USB device away", "device", a.name(), "waited", time.Since(began).Round(time.Second))
	}
}

// Sleep implements logind.Sleeper: vhci_hcd lets no machine sleep that has one of its devices. To the application it is a
// pulled plug. Close ends its wait.
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

// Wake implements logind.Sleeper. A port that cannot be plugged in again is lost for good, and Next says why.
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

// socketPair returns the two ends of a stream: one for Go's poller, one as a descriptor to be given away and closed.
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
	return nil, e, fmt.Errorf("port %s: the kernel has let go of the device %s (unplugged by usbip detach? dmesg says why)", p.claim.Path(), p.Name())
}

// Name implements uart.Port: the tty's device, which is also its name in /sys/class/tty. After the machine's sleep, or when
// the driver had let go of it, it may be another one, where a program has the old one open still.
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
// was pulled out: that is what it is. It returns when the kernel has taken the device away, so that the next one gets the
// same name where no application holds it; where the kernel does not, after 10 s. It must not be called from Urgent.
func (p *port) Close() error {
	p.closing.Do(func() {
		p.closed.Store(true)
		p.end()
		_ = p.Chip.Close()
		p.system.sleep.Remove(p) // waits for a Sleep or Wake under way
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
