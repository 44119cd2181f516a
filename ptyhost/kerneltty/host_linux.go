package kerneltty

import (
	"context"
	"fmt"
	"path/filepath"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/ftdi"
	"telnetcpc/ptyhost/aside"
	"telnetcpc/ptyhost/devpath"
	"telnetcpc/ptyhost/logind"
)

// hostName is this host's name in configuration, log and errors.
const hostName = "kernel"

// Host makes kernel ttys. Any goroutine may use it.
type Host struct{ system system }

var _ uart.Host = Host{}

// New returns the host of this machine.
func New() Host { return Host{machine()} }

// Name implements uart.Host: "kernel".
func (Host) Name() string { return hostName }

// Fidelity implements uart.Host.
func (Host) Fidelity() uart.Fidelity { return new(ftdi.Chip).Fidelity() }

// Check implements uart.Host. It loads the kernel's modules if they are not loaded yet, as Open does, because only that
// shows that they can be loaded. It needs root.
func (h Host) Check() error {
	if err := h.system.check(context.Background()); err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	return nil
}

// Open implements uart.Host. Owner, group and mode are those of the device to which the path leads, /dev/ttyUSB1; mode
// 0 is 0660, an empty group is dialout if that group exists. The path must be free, or a link that a dead agent of root
// left there; see devpath. The serial number that the device shows, and udev's /dev/serial/by-id with it, is the path's
// last element. The error is one line that names the path and the remedy.
func (h Host) Open(ctx context.Context, config uart.PortConfig) (uart.Port, error) {
	p, err := h.open(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", config.Path, err)
	}
	return p, nil
}

// open makes a port.
func (h Host) open(ctx context.Context, config uart.PortConfig) (_ *port, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	access, err := devpath.LookUp(config.Owner, config.Group, config.Mode)
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(config.Path)
	if err != nil || config.Path == "" {
		return nil, fmt.Errorf("no path (set the path at which the application finds the port, such as /dev/ttyV0)")
	}
	if err := h.system.check(ctx); err != nil {
		return nil, err
	}
	claim, err := devpath.Take(path)
	if err != nil {
		return nil, err
	}
	config.Log = aside.Logger(config.Log) // because most lines are logged while a lock that Close needs is held
	p := newPort(h.system, claim, access, config)
	if err := p.plugIn(ctx); err != nil {
		_ = p.Close()
		return nil, err
	}
	noEvents := changes.add(p)
	p.attending.Go(func() { p.attend(noEvents) }) // until Close
	p.wake()                                      // for what happened before changes.add
	h.system.sleep.Add(p, logind.Late, config.Log)
	return p, nil
}
