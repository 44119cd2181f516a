package listening

import (
	"context"
	"net/netip"
)

// What is pure, or the same everywhere, is tested everywhere.
var (
	ParseLsof     = parseLsof
	ParseSockstat = parseSockstat
)

// Unseen are the addresses at which somebody answers that the list lacks.
func Unseen(ctx context.Context, port uint16, seen []Listener) []Listener {
	return unseen(ctx, port, seen)
}

// Row is a row of a table of Windows, in words.
type Row struct {
	Address netip.AddrPort
	PID     int
}

// ParseTables reads Windows' two tables.
func ParseTables(v4, v6 []byte, port uint16) []Row {
	var all []Row
	for _, o := range once(parseTable4(v4, port), parseTable6(v6, port)) {
		all = append(all, Row{o.address, o.pid})
	}
	return all
}
