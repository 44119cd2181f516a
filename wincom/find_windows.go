package wincom

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/windows"
)

// New returns the Host of this machine.
func New() Host { return On(machine{}) }

// machine is this Windows.
type machine struct{}

var _ System = machine{}

// Check implements System. It needs no pair: one can be made.
func (machine) Check() error { return checkDriver() }

// Find implements System: by the driver's parameters in the registry, or without them by the names of the devices.
func (machine) Find(name string) (Ends, error) {
	if pairs, err := Pairs(); err == nil {
		if p, ok := FindPair(pairs, name); ok {
			end, peer, _ := p.Of(name)
			return endsOf(end, peer)
		}
	}
	return findByDevice(name)
}

// findByDevice finds the other end by the names that com0com gives its devices. The pins are unknown then.
func findByDevice(name string) (Ends, error) {
	device, err := dosTarget(name)
	if err != nil {
		return Ends{}, fmt.Errorf("there is no %s on this machine (telnetcpc pair list shows the pairs, telnetcpc pair add makes one)", name)
	}
	peer, id, peerID, ok := peerOf(device)
	if !ok {
		return Ends{}, &NotPairError{name, device}
	}
	names, err := dosNames()
	if err != nil {
		return Ends{}, err
	}
	for _, other := range names {
		if strings.EqualFold(deviceOf(other), peer) {
			return Ends{
				Application: name, ApplicationID: id, ApplicationPins: DefaultPins(),
				Agent: other, AgentID: peerID, AgentPins: DefaultPins(), Assumed: true,
			}, nil
		}
	}
	return Ends{}, fmt.Errorf("%s is com0com's %s, but its other end has no name on this machine (telnetcpc pair list shows the pairs)", name, id)
}

// Open implements System.
func (machine) Open(name string) (Device, error) { return openDevice(name) }

// dosTarget returns the NT device of a DOS device name.
func dosTarget(name string) (string, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return "", err
	}
	var target [windows.MAX_PATH]uint16
	if _, err := windows.QueryDosDevice(p, &target[0], uint32(len(target))); err != nil {
		return "", err
	}
	return windows.UTF16ToString(target[:]), nil
}

// dosNames lists all DOS device names.
func dosNames() ([]string, error) {
	for size := 16 << 10; ; size *= 2 {
		list := make([]uint16, size)
		n, err := windows.QueryDosDevice(nil, &list[0], uint32(len(list)))
		if errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) && size < 4<<20 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list devices: %w", err)
		}
		var names []string
		for start, i := 0, 0; i < int(n); i++ {
			if list[i] == 0 {
				if i > start {
					names = append(names, windows.UTF16ToString(list[start:i]))
				}
				start = i + 1
			}
		}
		return names, nil
	}
}
