package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"telnetcpc/bridge/escape"
	"telnetcpc/bridge/listening"
	"telnetcpc/bridge/remote"
)

// ianaPort is the TCP port that IANA names for telnetcpcd: where probe looks when it is given no URL.
const ianaPort = 3696

// found is who listens at an address, and what it is. The names in JSON are for programs and stay.
type found struct {
	Address string         `json:"address"` // an IP address; 0.0.0.0 and :: are every address of this machine
	Port    uint16         `json:"port"`
	PID     int            `json:"pid"`     // 0: not visible
	Process string         `json:"process"` // empty: not visible
	User    string         `json:"user"`    // empty: not visible
	Report  *remote.Report `json:"report"`  // null: it was not reached
	Error   string         `json:"error"`   // why it was not reached
}

// probeHere says who listens on a TCP port of this machine and probes each, one after the other. The error says that
// nobody listens, or that none of them is an access server.
func probeHere(ctx context.Context, w io.Writer, port uint16, o remote.ProbeOptions, asJSON bool) error {
	all, err := listening.On(ctx, port)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	list, err := probeEach(ctx, all, o)
	if err != nil {
		return err // interrupted
	}
	if err := printFound(w, list, asJSON); err != nil {
		return err
	}
	switch {
	case len(list) == 0:
		return fmt.Errorf("probe: nobody listens on TCP port %d of this machine (telnetcpc serve DEVICE makes an access server)", port)
	case slices.ContainsFunc(list, found.isAccessServer):
		return nil
	}
	return fmt.Errorf("probe: TCP port %d of this machine: %w", port, remote.ErrNotAccessServer)
}

// probeEach probes each address once: processes that share one are served by the same socket, or a server that has one
// client at a time would refuse the second probe.
func probeEach(ctx context.Context, all []listening.Listener, o remote.ProbeOptions) ([]found, error) {
	list := []found{}
	seen := map[netip.AddrPort]found{}
	for _, l := range all {
		f, ok := seen[l.Address]
		if !ok {
			var err error
			f.Report, err = probeAt(ctx, l, all, o)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				f.Error = escape.Line(err.Error())
			}
			seen[l.Address] = f
		}
		f.Address, f.Port, f.PID = l.Address.Addr().String(), l.Address.Port(), l.PID
		f.Process, f.User = escape.Line(l.Process), escape.Line(l.User)
		list = append(list, f)
	}
	return list, nil
}

// probeAt probes one listener from this machine. Some systems let one program listen at every address and another at
// the loopback address: then only the second is reached here.
func probeAt(ctx context.Context, l listening.Listener, all []listening.Listener, o remote.ProbeOptions) (*remote.Report, error) {
	at := l.Reach()
	if at != l.Address && slices.ContainsFunc(all, func(other listening.Listener) bool { return other.Address == at }) {
		return nil, fmt.Errorf("from this machine, %s is another listener (probe it from another machine)", at)
	}
	far, err := remote.New(remote.URL{
		Scheme: remote.SchemeRFC2217, Host: at.Addr().String(), Port: strconv.Itoa(int(at.Port())),
	}, remote.Options{})
	if err != nil {
		return nil, err
	}
	return far.Probe(ctx, o)
}

func printFound(w io.Writer, list []found, asJSON bool) error {
	if asJSON {
		return printJSON(w, list)
	}
	for i, f := range list {
		if _, err := fmt.Fprintln(w, f); err != nil {
			return err
		}
		if i+1 < len(list) && list[i+1].sharesAddress(f) {
			continue // what it is stands under the last of them
		}
		if err := f.printVerdict(w); err != nil {
			return err
		}
	}
	return nil
}

func (f found) isAccessServer() bool { return f.Report != nil && f.Report.AccessServer }

func (f found) sharesAddress(other found) bool { return f.Address == other.Address }

func (f found) printVerdict(w io.Writer) error {
	if f.Report == nil {
		_, err := fmt.Fprintf(w, "    Not reached: %s.\n", f.Error)
		return err
	}
	return f.Report.WriteVerdict(w, "    ")
}

// String is one line: "127.0.0.1:3696: telnetcpc, pid 812, user root". An interface's name stays with its address.
func (f found) String() string {
	host := f.Address
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	var who []string
	switch {
	case f.Process != "":
		who = append(who, f.Process, fmt.Sprintf("pid %d", f.PID))
	case f.PID != 0:
		who = append(who, fmt.Sprintf("pid %d, name not visible (%s)", f.PID, listening.Hidden()))
	default:
		who = append(who, "process not visible ("+listening.Hidden()+")")
	}
	if f.User != "" {
		who = append(who, "user "+f.User)
	}
	return fmt.Sprintf("%s:%d: %s", host, f.Port, strings.Join(who, ", "))
}
