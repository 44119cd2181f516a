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

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/devpath"
	"telnetcpc/ptyhost/kerneltty/ftdi"
)

// port is one emulated adapter, plugged in, and the tty that the kernel makes of it. What passes is the chip's business.
type port struct {
	*ftdi.Chip
	system system
	claim  *devpath.Claim // on the path
	log    *slog.Logger

	name   string // of the tty: ttyUSB1
	device string // the device's directory in sysfs; empty: never plugged in

	live atomic.Bool   // Open has returned: what the chip calls out is the application's doing
	gone chan struct{} // closed when Serve has returned: the device is unplugged, by us or by somebody else
	wire sync.WaitGroup

	closing  sync.Once
	closed   atomic.Bool
	closeErr error // of the claim's release
}

var _ uart.Port = (*port)(nil)

// newPort makes a port that is not plugged in yet. What the chip calls out before that is our own doing.
func newPort(s system, claim *devpath.Claim, config uart.PortConfig) *port {
	p := &port{system: s, claim: claim, log: config.Log, gone: make(chan struct{})}
	if urgent := config.Urgent; urgent != nil {
		config.Urgent = func(e uart.Event) {
			if p.live.Load() {
				urgent(e)
			}
		}
	}
	p.Chip = ftdi.New(config, filepath.Base(claim.Path()), config.Log)
	return p
}

// start plugs the chip in and makes its tty ready to be used by others. What it has made when it fails Close takes away.
func (p *port) start(ctx context.Context, who devpath.Access) error {
	vhci, err := p.system.ready(ctx)
	if err != nil {
		return err
	}
	if err := p.system.teach(ftdi.VendorID, ftdi.ProductID); err != nil {
		return err
	}
	if err := p.plug(ctx, vhci); err != nil {
		return fmt.Errorf("plug in the device: %w", err)
	}
	if err := p.prepare(ctx); err != nil {
		return err
	}
	return p.system.give(ctx, p.name, who, p.log)
}

// plug makes the wire, gives the kernel its end, and waits for the tty.
func (p *port) plug(ctx context.Context, vhci string) error {
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	p.wire.Go(func() { p.serve(ours) })
	slot, err := p.system.plug(ctx, vhci, theirs)
	_ = unix.Close(theirs)
	if err != nil {
		return err
	}
	p.device = p.system.device(vhci, slot)
	p.name, err = p.system.tty(ctx, vhci, slot, p.gone)
	return err
}

// serve plays the device. It is started by plug and ends when the device is unplugged. If that was not Close, the port is
// lost for good, and Next says so.
func (p *port) serve(wire io.ReadWriteCloser) {
	defer close(p.gone)
	if err := p.Serve(wire); err != nil && !errors.Is(err, uart.ErrClosed) {
		p.log.Error("the USB device's wire failed", "device", p.name, "err", err)
	}
	_ = p.Chip.Close()
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
	if errors.Is(err, uart.ErrClosed) && !p.closed.Load() {
		err = fmt.Errorf("port %s: the kernel has let go of the device %s (unplugged by usbip detach? dmesg says why)", p.claim.Path(), p.name)
	}
	return b, e, err
}

// Name implements uart.Port: the tty's device, which is also its name in /sys/class/tty.
func (p *port) Name() string { return "/dev/" + p.name }

// Retire implements uart.Port.
func (p *port) Retire() error { return p.claim.Release() }

// Close implements uart.Port. The application's reads return end of file and its writes EIO, as on a USB adapter that
// was pulled out: that is what it is. It returns when the kernel has taken the device away, so that the next one gets the
// same name where no application holds it. It must not be called from Urgent.
func (p *port) Close() error {
	p.closing.Do(func() {
		p.closed.Store(true)
		p.closeErr = p.claim.Release()
		_ = p.Chip.Close()
		p.wire.Wait()
		if p.device == "" {
			return
		}
		if err := poll(context.Background(), func() (bool, error) { return !exists(p.device), nil }); err != nil {
			p.log.Warn("the kernel has not taken the USB device away", "device", p.name, "waited", plugPatience)
		}
	})
	return p.closeErr
}
