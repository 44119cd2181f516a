//go:build linux || darwin || freebsd

package ptyhost

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/aside"
	"telnetcpc/ptyhost/devpath"
	"telnetcpc/ptyhost/terminal"
)

// hostName is this host's name in configuration, log and errors.
const hostName = "pty"

// making serialises the creation of ports. Its system calls block each other in the kernel: a thousand ports created at
// once would need a thread each, which the runtime never frees. It is a package variable because threads belong to the
// process.
var making sync.Mutex

// carried is what a pty carries. Parity is not part of it: the kernel clears PARENB. Odd, mark and space parity remain
// visible in the termios (PARODD, CMSPAR), but even parity does not, so a port that reported the others would be wrong
// about even parity.
const carried = uart.CarriesBaud | uart.CarriesStopBits | uart.CarriesFlow | uart.CarriesFlowApart

// Host makes ports out of pseudo-terminals. The zero value is ready; any goroutine may use it.
type Host struct{}

var _ uart.Host = Host{}

// New returns the host.
func New() Host { return Host{} }

// Name implements uart.Host: "pty".
func (Host) Name() string { return hostName }

// Fidelity implements uart.Host.
func (Host) Fidelity() uart.Fidelity { return carried }

// Check implements uart.Host: it opens a pty and closes it.
func (Host) Check() error {
	if err := terminal.Check(); err != nil {
		return fmt.Errorf("pty: %w", err)
	}
	return nil
}

// Open implements uart.Host. Mode 0 is 0660. An empty group is dialout for root, if that group exists; otherwise it is, like
// an empty owner, what the system gives a new pty. The path must be free, or a link that a dead agent of this user left
// there; see devpath. The error is one line that names the path and the remedy.
func (Host) Open(ctx context.Context, config uart.PortConfig) (uart.Port, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	making.Lock()
	defer making.Unlock()
	p, err := open(config)
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", config.Path, err)
	}
	return p, nil
}

// open creates a port. The link comes last, so that a program which finds it finds a complete port.
func open(config uart.PortConfig) (_ *port, err error) {
	access, err := devpath.LookUp(config.Owner, config.Group, config.Mode)
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(config.Path)
	if err != nil || config.Path == "" {
		return nil, fmt.Errorf("no path (set the path at which the application finds the port, such as /dev/ttyV0)")
	}
	claim, err := devpath.Take(path)
	if err != nil {
		return nil, err
	}
	p := &port{claim: claim, urgent: config.Urgent, log: aside.Logger(config.Log)}
	if p.urgent == nil {
		p.urgent = func(uart.Event) {}
	}
	if err := p.start(access); err != nil {
		_ = claim.Release()
		return nil, terminal.ExplainLimit(err)
	}
	if err := claim.Link(p.term.Name(), p.term.Master()); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}
