package uarttest

import (
	"context"
	"fmt"
	"sync"

	"telnetcpc/bridge/uart"
)

// Host is a uart.Host that opens fake ports. The zero value works and has full fidelity.
type Host struct {
	Lacks  uart.Fidelity // what its ports do not carry
	Broken error         // what Check and Open return

	mu    sync.Mutex // guards ports; makes the check for a free path and the open atomic
	ports map[string]*Port
}

var _ uart.Host = (*Host)(nil)

// Name implements uart.Host.
func (h *Host) Name() string { return "fake" }

// Check implements uart.Host.
func (h *Host) Check() error { return h.Broken }

// Fidelity implements uart.Host.
func (h *Host) Fidelity() uart.Fidelity { return uart.FullFidelity &^ h.Lacks }

// Open implements uart.Host. A path may be opened again once its port is closed.
func (h *Host) Open(ctx context.Context, config uart.PortConfig) (uart.Port, error) {
	if h.Broken != nil {
		return nil, h.Broken
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.ports[config.Path]; old != nil && !old.Closed() {
		return nil, fmt.Errorf("%s: another port is served there", config.Path)
	}
	p := NewPort(config)
	p.SetFidelity(h.Fidelity())
	if h.ports == nil {
		h.ports = make(map[string]*Port)
	}
	h.ports[config.Path] = p
	return p, nil
}

// Port returns the port that Open made last for the path, or nil.
func (h *Host) Port(path string) *Port {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ports[path]
}
