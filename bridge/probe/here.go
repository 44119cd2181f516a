package probe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"telnetcpc/bridge/listening"
	"telnetcpc/bridge/remote"
)

// Local is a process that listens on this machine, and the report about it. Its names and its error are not escaped. The
// JSON names are an interface for programs.
type Local struct {
	Address string  `json:"address"` // an IP address; 0.0.0.0 and :: mean every address of this machine
	Port    uint16  `json:"port"`
	PID     int     `json:"pid"`     // 0: not visible
	Process string  `json:"process"` // empty: not visible
	User    string  `json:"user"`    // empty: not visible
	Report  *Report `json:"report"`  // null: it was not reached
	Error   string  `json:"error"`   // why it was not reached
}

// Here lists the processes that listen on a TCP port of this machine, sorted by address and process, and probes them one
// after the other. An empty list is no error. A listener that was not reached is in the list, with the reason. The error
// is one line: why the system's tables could not be read, or that of ctx.
func Here(ctx context.Context, port uint16, o Options) ([]Local, error) {
	all, err := listening.On(ctx, port)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	return each(ctx, all, o)
}

// each probes each address once, even if several processes share it: they share its socket, and a server that accepts one
// client at a time would refuse a second probe.
func each(ctx context.Context, all []listening.Listener, o Options) ([]Local, error) {
	list := []Local{}
	seen := map[netip.AddrPort]Local{}
	for _, l := range all {
		found, ok := seen[l.Address]
		if !ok {
			var err error
			found.Report, err = reach(ctx, l, all, o)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				found.Error = err.Error()
			}
			seen[l.Address] = found
		}
		found.Address, found.Port, found.PID = l.Address.Addr().String(), l.Address.Port(), l.PID
		found.Process, found.User = l.Process, l.User
		list = append(list, found)
	}
	return list, nil
}

// reach probes one listener from this machine. Some systems let one program listen at every address and another at the
// loopback address; from this machine, only the one at the loopback address can be reached.
func reach(ctx context.Context, l listening.Listener, all []listening.Listener, o Options) (*Report, error) {
	at := l.Reach()
	if at != l.Address && slices.ContainsFunc(all, func(other listening.Listener) bool { return other.Address == at }) {
		return nil, fmt.Errorf("from this machine, %s reaches another listener (probe it from another machine)", at)
	}
	far, err := remote.New(remote.URL{
		Scheme: remote.SchemeRFC2217, Host: at.Addr().String(), Port: strconv.Itoa(int(at.Port())),
	}, remote.Options{})
	if err != nil {
		return nil, err
	}
	return Run(ctx, far, o)
}
