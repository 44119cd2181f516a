package listening

import (
	"context"
	"net/netip"
)

// These are pure functions and are tested on every system.
var (
	ParseLsof     = parseLsof
	ParseSockstat = parseSockstat
)

// Unseen returns the listeners at loopback addresses that are missing in the list.
func Unseen(ctx context.Context, port uint16, seen []Listener) []Listener {
	return unseen(ctx, port, seen)
}

// Row is a row of one of Windows' tables.
type Row struct {
	Address netip.AddrPort
	PID     int
}

// ParseTables parses Windows' two tables and merges them.
func ParseTables(v4, v6 []byte, port uint16) []Row {
	var all []Row
	for _, o := range mergeTables(parseTable4(v4, port), parseTable6(v6, port)) {
		all = append(all, Row{o.address, o.pid})
	}
	return all
}
