package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"telnetcpc/bridge/escape"
	"telnetcpc/bridge/listening"
	"telnetcpc/bridge/probe"
	"telnetcpc/bridge/remote"
)

// ianaPort is the TCP port that IANA assigns to telnetcpcd: the one that probe inspects if it is given no URL.
const ianaPort = 3696

// probeHere prints which processes listen on a TCP port of this machine and what each listener is. It is an error if nothing
// listens, or if none is an access server.
func probeHere(ctx context.Context, w io.Writer, port uint16, o probe.Options, asJSON bool) error {
	list, err := probe.Here(ctx, port, o)
	if err != nil {
		return err
	}
	if err := printFound(w, list, asJSON); err != nil {
		return err
	}
	switch {
	case len(list) == 0:
		return fmt.Errorf("probe: nothing listens on TCP port %d of this machine (telnetcpc serve DEVICE makes an access server)", port)
	case slices.ContainsFunc(list, isAccessServer):
		return nil
	}
	return fmt.Errorf("probe: TCP port %d of this machine: %w", port, remote.ErrNotAccessServer)
}

func printFound(w io.Writer, list []probe.Local, asJSON bool) error {
	for i := range list {
		f := &list[i]
		f.Process, f.User, f.Error = escape.Line(f.Process), escape.Line(f.User), escape.Line(f.Error)
	}
	if asJSON {
		return printJSON(w, list)
	}
	for i, f := range list {
		if _, err := fmt.Fprintln(w, localLine(f)); err != nil {
			return err
		}
		if i+1 < len(list) && list[i+1].Address == f.Address {
			continue // processes that share a socket get one verdict, after the last of them
		}
		if err := printVerdict(w, f); err != nil {
			return err
		}
	}
	return nil
}

func isAccessServer(f probe.Local) bool { return f.Report != nil && f.Report.AccessServer }

func printVerdict(w io.Writer, f probe.Local) error {
	if f.Report == nil {
		_, err := fmt.Fprintf(w, "    Not reached: %s.\n", f.Error)
		return err
	}
	return f.Report.WriteVerdict(w, "    ")
}

// localLine returns a line such as "127.0.0.1:3696: telnetcpc, pid 812, user root". A link-local address keeps its
// zone.
func localLine(f probe.Local) string {
	host := f.Address
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	var words []string
	switch {
	case f.Process != "":
		words = append(words, f.Process, fmt.Sprintf("pid %d", f.PID))
	case f.PID != 0:
		words = append(words, fmt.Sprintf("pid %d, name not visible (%s)", f.PID, listening.Hidden()))
	default:
		words = append(words, "process not visible ("+listening.Hidden()+")")
	}
	if f.User != "" {
		words = append(words, "user "+f.User)
	}
	return fmt.Sprintf("%s:%d: %s", host, f.Port, strings.Join(words, ", "))
}
