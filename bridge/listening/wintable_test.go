package listening_test

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"testing"

	"telnetcpc/bridge/listening"
)

// The tables are built from Microsoft's description of MIB_TCPTABLE_OWNER_PID and MIB_TCP6TABLE_OWNER_PID.

func table(rows ...[]byte) []byte {
	all := binary.LittleEndian.AppendUint32(nil, uint32(len(rows)))
	for _, r := range rows {
		all = append(all, r...)
	}
	return all
}

const listen = 2 // MIB_TCP_STATE_LISTEN

// words appends 32-bit words of a row; appendPort appends a word that holds a port.
func words(p []byte, w ...uint32) []byte {
	for _, v := range w {
		p = binary.LittleEndian.AppendUint32(p, v)
	}
	return p
}

func appendPort(p []byte, port uint16) []byte {
	return append(binary.BigEndian.AppendUint16(p, port), 0xAA, 0xBB) // the upper half is not defined
}

func row4(address string, pid uint32) []byte {
	a := at(address)
	host := a.Addr().As4()
	return words(appendPort(append(words(nil, listen), host[:]...), a.Port()), 0, 0, pid)
}

func row6(address string, scope, pid uint32) []byte {
	a := at(address)
	host := a.Addr().As16()
	p := appendPort(words(host[:], scope), a.Port())
	return words(append(p, make([]byte, 16)...), 0, 0, listen, pid)
}

func TestParseTables(t *testing.T) {
	for _, row := range []struct {
		name   string
		v4, v6 []byte
		want   []listening.Row
	}{
		{"one of each", table(row4("127.0.0.1:3696", 10)), table(row6("[::1]:3696", 0, 11)),
			[]listening.Row{{Address: at("[::1]:3696"), PID: 11}, {Address: at("127.0.0.1:3696"), PID: 10}}},
		{"a socket of both families is in both tables", table(row4("0.0.0.0:3696", 10)), table(row6("[::]:3696", 0, 10)),
			[]listening.Row{{Address: at("[::]:3696"), PID: 10}}},
		{"two processes share the families", table(row4("0.0.0.0:3696", 10)), table(row6("[::]:3696", 0, 11)),
			[]listening.Row{{Address: at("[::]:3696"), PID: 11}, {Address: at("0.0.0.0:3696"), PID: 10}}},
		{"an interface's own address", table(), table(row6("[fe80::1]:3696", 7, 12)),
			[]listening.Row{{Address: netip.AddrPortFrom(netip.MustParseAddr("fe80::1%7"), 3696), PID: 12}}},
		{"other ports", table(row4("0.0.0.0:3697", 1), row4("0.0.0.0:28686", 1)), table(row6("[::]:80", 0, 1)), nil},
		{"room after the rows", append(table(row4("127.0.0.1:3696", 10)), row4("127.0.0.2:3696", 10)...), table(),
			[]listening.Row{{Address: at("127.0.0.1:3696"), PID: 10}}},
		{"truncated", table(row4("127.0.0.1:3696", 10), row4("127.0.0.2:3696", 10))[:4+24+23], []byte{1, 0},
			[]listening.Row{{Address: at("127.0.0.1:3696"), PID: 10}}},
		{"nothing", nil, nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := listening.ParseTables(row.v4, row.v6, 3696); !reflect.DeepEqual(got, row.want) {
				t.Errorf("got  %v\nwant %v", got, row.want)
			}
		})
	}
}
