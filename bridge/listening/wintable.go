package listening

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
)

// The tables that Windows' GetExtendedTcpTable fills for listeners and their owners: a count, then rows of 32-bit words.
// Words are little-endian, as every Windows is; addresses and ports are in network order.
//
//	MIB_TCPROW_OWNER_PID    state, address, port, remote address, remote port, pid
//	MIB_TCP6ROW_OWNER_PID   address (16 bytes), scope, port, remote address (16), remote scope, remote port, state, pid
const (
	countSize           = 4
	row4Size            = 24
	row4Addr, row4Port  = 4, 8
	row4PID             = 20
	row6Size            = 56
	row6Addr, row6Scope = 0, 16
	row6Port, row6PID   = 20, 52
)

// tableRow is a row of either table.
type tableRow struct {
	address netip.AddrPort
	pid     int
}

// parseTable4 reads the IPv4 table. If the table is shorter than its count says, the missing rows are ignored.
func parseTable4(table []byte, port uint16) []tableRow {
	return parseRows(table, row4Size, port, func(row []byte) tableRow {
		at := netip.AddrFrom4([4]byte(row[row4Addr:]))
		return tableRow{netip.AddrPortFrom(at, binary.BigEndian.Uint16(row[row4Port:])), pidAt(row[row4PID:])}
	})
}

// parseTable6 reads the IPv6 table. A scope is an interface's number.
func parseTable6(table []byte, port uint16) []tableRow {
	return parseRows(table, row6Size, port, func(row []byte) tableRow {
		at := netip.AddrFrom16([16]byte(row[row6Addr:]))
		if scope := binary.LittleEndian.Uint32(row[row6Scope:]); scope != 0 {
			at = at.WithZone(strconv.FormatUint(uint64(scope), 10))
		}
		return tableRow{netip.AddrPortFrom(at, binary.BigEndian.Uint16(row[row6Port:])), pidAt(row[row6PID:])}
	})
}

func parseRows(table []byte, size int, port uint16, parse func(row []byte) tableRow) []tableRow {
	if len(table) < countSize {
		return nil
	}
	count := int(binary.LittleEndian.Uint32(table))
	var all []tableRow
	for row := range slices.Chunk(table[countSize:], size) {
		if count == 0 || len(row) < size {
			break
		}
		count--
		if o := parse(row); o.address.Port() == port {
			all = append(all, o)
		}
	}
	return all
}

func pidAt(p []byte) int { return int(binary.LittleEndian.Uint32(p)) }

// mergeTables joins the two tables. Windows lists a socket for both families in both tables: a process that listens at
// every address of both appears once, with ::.
func mergeTables(v4, v6 []tableRow) []tableRow {
	all := slices.Clone(v6)
	for _, o := range v4 {
		port := o.address.Port()
		both := tableRow{netip.AddrPortFrom(netip.IPv6Unspecified(), port), o.pid}
		if o.address.Addr() == netip.IPv4Unspecified() && slices.Contains(v6, both) {
			continue
		}
		all = append(all, o)
	}
	return all
}
