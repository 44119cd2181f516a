package wincom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"telnetcpc/bridge/uart"
)

// hostName is this host's name in configuration, log and errors.
const hostName = "com0com"

// carried is what a pair with AgentPins and ApplicationPins carries. The driver does not report purges or the choice of
// flow control, completes a drain by itself, and has no request that gives the application a damaged byte.
const carried = uart.CarriesBaud | uart.CarriesDataBits | uart.CarriesSixBits | uart.CarriesParity |
	uart.CarriesStopBits | uart.CarriesDTR | uart.CarriesRTS | uart.CarriesBreak | uart.CarriesOrder |
	uart.CarriesModem | uart.CarriesBreakIn

// Ends are the two ends of a pair, as known when a port is made of it.
type Ends struct {
	Application     string // the end that the application opens: COM9
	Agent           string // the end that the port opens: CNCB0
	ApplicationID   string // com0com's own name for the end, as setupc takes it: CNCA0
	AgentID         string
	ApplicationPins Pins
	AgentPins       Pins

	Assumed    bool // the driver's parameters cannot be read: the pins are com0com's defaults
	EmuBR      bool // the driver paces the agent's writes by the baud rate of the agent's end
	EmuOverrun bool // the driver drops what the application writes when the agent's queue is full
}

// System is where a Host finds pairs and opens their ends: Windows, or a model of it.
type System interface {
	// Check returns why pairs cannot be used, with the way out; nil if they can.
	Check() error
	// Find returns the pair that has an end of this name. The error is a *NotPairError if another driver's device has it.
	Find(name string) (Ends, error)
	// Open opens an end by name. Among its errors are ErrBusy and ErrNoDevice.
	Open(name string) (Device, error)
}

// NotPairError is the error for a port that is not an end of a com0com pair.
type NotPairError struct {
	Name   string
	Device string // what it is: an NT device, or a description
}

func (e *NotPairError) Error() string {
	return fmt.Sprintf("%s is not an end of a com0com pair but %s, which does not show the application's settings "+
		"(telnetcpc pair add makes a pair; with --line, which pins the settings, it carries bytes and lines)", e.Name, e.Device)
}

// Host makes ports of com0com pairs. Any goroutine may use it.
type Host struct{ system System }

var _ uart.Host = Host{}

// On returns a Host that uses the pairs of s.
func On(s System) Host { return Host{s} }

// Name implements uart.Host: "com0com".
func (Host) Name() string { return hostName }

// Check implements uart.Host.
func (h Host) Check() error {
	if err := h.system.Check(); err != nil {
		return fmt.Errorf("%s: %w", hostName, err)
	}
	return nil
}

// Fidelity implements uart.Host: that of a pair that telnetcpc made. With other pins a port may carry less; see its
// Fidelity.
func (Host) Fidelity() uart.Fidelity { return carried }

// Open implements uart.Host. The path is the name of the application's end: COM9, or \\.\COM9. An owner, a group or a mode
// is an error. The pair must exist, and remains after Close. The error is one line that names the port and the way out.
func (h Host) Open(ctx context.Context, config uart.PortConfig) (uart.Port, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := portName(config.Path)
	if config.Log == nil {
		config.Log = slog.Default()
	}
	p, err := h.open(name, config)
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", name, err)
	}
	return p, nil
}

func (h Host) open(name string, config uart.PortConfig) (uart.Port, error) {
	if name == "" || strings.ContainsAny(name, `\/`) {
		return nil, errors.New("not the name of a serial port (set the end that the application opens, such as COM9)")
	}
	if config.Owner != "" || config.Group != "" || config.Mode != 0 {
		return nil, errors.New("a port on Windows has no owner, group or mode (leave them out)")
	}
	ends, err := h.system.Find(name)
	if foreign := new(NotPairError); errors.As(err, &foreign) && config.Pinned.DataBits != 0 {
		ends, err = Ends{Application: name, Agent: name}, nil // start asks the driver itself
	}
	if err != nil {
		return nil, err
	}
	if ends.ApplicationPins.readingOf(PinROPEN).known() && !ends.AgentPins.readingOf(PinROPEN).known() {
		return nil, fmt.Errorf("by its pins it is the agent's end of a pair; programs open the other end (attach %s)", ends.Agent)
	}
	dev, err := h.system.Open(ends.Agent)
	switch {
	case errors.Is(err, ErrBusy):
		return nil, fmt.Errorf("%s is %w (another agent, or hub4com? end that first)", ends.Agent, err)
	case errors.Is(err, ErrNoDevice):
		return nil, fmt.Errorf("open %s, its other end: %w (telnetcpc doctor checks the driver)", ends.Agent, err)
	case err != nil:
		return nil, fmt.Errorf("open %s, its other end: %w", ends.Agent, err)
	}
	p := newPort(dev, ends, config)
	if err := p.start(); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// portName returns the name in a path: COM9 for \\.\COM9.
func portName(path string) string {
	for _, prefix := range []string{`\\.\`, `//./`} {
		path = strings.TrimPrefix(path, prefix)
	}
	return path
}
