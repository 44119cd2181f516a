package wincom

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"telnetcpc/bridge/uart"
)

// hostName is this host's word in configuration, log and errors.
const hostName = "com0com"

// carried is what a pair with AgentPins and ApplicationPins carries. The driver does not tell the agent's end of a purge,
// of the choice of flow control, nor does it ask it how long a drain shall wait; and there is no way to give the
// application a damaged byte.
const carried = uart.CarriesBaud | uart.CarriesDataBits | uart.CarriesSixBits | uart.CarriesParity |
	uart.CarriesStopBits | uart.CarriesDTR | uart.CarriesRTS | uart.CarriesBreak | uart.CarriesOrder |
	uart.CarriesModem | uart.CarriesBreakIn

// Ends is what is known of a pair when a port is made of it.
type Ends struct {
	Application     string // the end that the application opens: COM9
	Agent           string // the other one, which the port opens: CNCB0
	ApplicationID   string // com0com's own name for the end, which setupc wants: CNCA0
	AgentID         string
	ApplicationPins Pins
	AgentPins       Pins

	Assumed    bool // the driver's parameters could not be read: the pins are the defaults
	EmuBR      bool // the driver paces what goes to the application by the agent's end's own baud rate
	EmuOverrun bool // the driver drops what the application writes faster than it is read
}

// System is where a Host finds pairs and opens their ends: Windows, or a model of it.
type System interface {
	// Check is nil where pairs can be used, else the reason and the way out.
	Check() error
	// Find returns the pair whose one end has this name. The error is a *NotPairError where the name is another device's.
	Find(name string) (Ends, error)
	// Open opens an end by its name. The errors are ErrBusy and ErrNoDevice where that is why.
	Open(name string) (Device, error)
}

// NotPairError says that a port is none of com0com's.
type NotPairError struct {
	Name   string
	Device string // what it is, as the system says it, or says of the driver
}

func (e *NotPairError) Error() string {
	return fmt.Sprintf("%s is no end of a com0com pair, but %s (what an application does there cannot be known; "+
		"telnetcpc pair add makes a pair; --line pins the settings, then it carries bytes and lines)", e.Name, e.Device)
}

// Host makes ports of com0com pairs. Any goroutine may use it.
type Host struct{ system System }

var _ uart.Host = Host{}

// On returns the host of a system.
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

// Fidelity implements uart.Host: of a pair that telnetcpc made. Other pins may carry less; the port says so.
func (Host) Fidelity() uart.Fidelity { return carried }

// Open implements uart.Host. The path is the name of the application's end: COM9, or \\.\COM9. An owner, a group or a
// mode is refused. The pair is there before and after: Close leaves the application's end as it is when no agent runs. The
// error is one line that names the port and the way out.
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
		return nil, errors.New("no name of a serial port (say which one the application opens, as in COM9)")
	}
	if config.Owner != "" || config.Group != "" || config.Mode != 0 {
		return nil, errors.New("a port of Windows has no owner, group and mode (leave them out)")
	}
	ends, err := h.system.Find(name)
	if foreign := new(NotPairError); errors.As(err, &foreign) && config.Pinned.DataBits != 0 {
		ends, err = Ends{Application: name, Agent: name}, nil // the port says more
	}
	if err != nil {
		return nil, err
	}
	if ends.ApplicationPins.reads(PinROPEN).known() && !ends.AgentPins.reads(PinROPEN).known() {
		return nil, fmt.Errorf("it is the agent's end of a pair, by its pins; programs open the other one (attach %s)", ends.Agent)
	}
	dev, err := h.system.Open(ends.Agent)
	switch {
	case errors.Is(err, ErrBusy):
		return nil, fmt.Errorf("%s is %w (another agent, or hub4com? it must be closed there first)", ends.Agent, err)
	case errors.Is(err, ErrNoDevice):
		return nil, fmt.Errorf("open %s, its other end: %w (telnetcpc doctor says how the driver stands)", ends.Agent, err)
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

// portName is the name in a path of Windows: COM9 in \\.\COM9.
func portName(path string) string {
	for _, prefix := range []string{`\\.\`, `//./`} {
		path = strings.TrimPrefix(path, prefix)
	}
	return path
}
