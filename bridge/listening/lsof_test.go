package listening_test

import (
	"net/netip"
	"reflect"
	"testing"

	"telnetcpc/bridge/listening"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// The first row is what lsof 4.95 wrote on Linux; the others follow lsof(8), section OUTPUT FOR OTHER PROGRAMS: no test
// machine has them.
func TestParseLsof(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       []listening.Listener
	}{
		{"recorded: one process, one IPv6 socket", "p21675\ncpython3\nu0\nLroot\nf3\ntIPv6\nn*:3696\n",
			[]listening.Listener{{Address: at("[::]:3696"), PID: 21675, Process: "python3", User: "root"}}},
		{"a process with two sockets, and another", "p1\ncser2net\nu0\nLroot\nf4\ntIPv4\nn127.0.0.1:3696\nf5\ntIPv6\nn[::1]:3696\np2\nctelnetcpc\nu501\nLmeg\nf9\ntIPv4\nn*:3696\n",
			[]listening.Listener{
				{Address: at("127.0.0.1:3696"), PID: 1, Process: "ser2net", User: "root"},
				{Address: at("[::1]:3696"), PID: 1, Process: "ser2net", User: "root"},
				{Address: at("0.0.0.0:3696"), PID: 2, Process: "telnetcpc", User: "meg"},
			}},
		{"a user without a name", "p7\ncx\nu4711\nf3\ntIPv4\nn10.0.0.5:3696\n",
			[]listening.Listener{{Address: at("10.0.0.5:3696"), PID: 7, Process: "x", User: "4711"}}},
		{"spaces and a broken escape in names", "p8\ncSerial\\x20Server\\xz\nu1\nLa\\x\nf3\ntIPv4\nn*:3696\n",
			[]listening.Listener{{Address: at("0.0.0.0:3696"), PID: 8, Process: `Serial Server\xz`, User: `a\x`}}},
		{"an interface's own address", "p9\ncx\nLy\nf3\ntIPv6\nn[fe80::1%lo0]:3696\n",
			[]listening.Listener{{Address: at("[fe80::1%lo0]:3696"), PID: 9, Process: "x", User: "y"}}},
		{"no field of one process carries over to the next", "p1\nca\nLb\nf3\ntIPv6\nn[::1]:1\np2\nf4\nn*:3696\n",
			[]listening.Listener{{Address: at("0.0.0.0:3696"), PID: 2}}},
		{"other ports, other things, empty lines", "\np1\nca\nf3\ntIPv4\nn*:36960\nf4\nn/dev/null\nf5\nn\nf6\nn*:*\nq\n", nil},
		{"carriage returns", "p1\r\nca\r\nLb\r\nf3\r\ntIPv4\r\nn*:3696\r\n",
			[]listening.Listener{{Address: at("0.0.0.0:3696"), PID: 1, Process: "a", User: "b"}}},
		{"nobody", "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := listening.ParseLsof(row.text, 3696); !reflect.DeepEqual(got, row.want) {
				t.Errorf("got  %+v\nwant %+v", got, row.want)
			}
		})
	}
}

// After sockstat(1), FreeBSD 14.
func TestParseSockstat(t *testing.T) {
	const head = "USER     COMMAND    PID   FD  PROTO  LOCAL ADDRESS         FOREIGN ADDRESS      \n"
	for _, row := range []struct {
		name, text string
		want       []listening.Listener
	}{
		{"both families", head +
			"root     ser2net    812   4   tcp4   127.0.0.1:3696        *:*\n" +
			"meg      telnetcpc  900   7   tcp6   ::1:3696              *:*\n" +
			"meg      telnetcpc  901   7   tcp6   *:3696                *:*\n" +
			"meg      telnetcpc  902   7   tcp46  *:3696                *:*\n",
			[]listening.Listener{
				{Address: at("127.0.0.1:3696"), PID: 812, Process: "ser2net", User: "root"},
				{Address: at("[::1]:3696"), PID: 900, Process: "telnetcpc", User: "meg"},
				{Address: at("[::]:3696"), PID: 901, Process: "telnetcpc", User: "meg"},
				{Address: at("[::]:3696"), PID: 902, Process: "telnetcpc", User: "meg"},
			}},
		{"a name with spaces", "root     a b c      5     4   tcp4   *:3696                *:*\n",
			[]listening.Listener{{Address: at("0.0.0.0:3696"), PID: 5, Process: "a b c", User: "root"}}},
		{"not visible", "?        ?          ?     ?   tcp4   *:3696                *:*\n",
			[]listening.Listener{{Address: at("0.0.0.0:3696")}}},
		{"other ports and protocols", head +
			"root     a          5     4   tcp4   *:369                 *:*\n" +
			"root     a          5     4   udp4   *:3696                *:*\n" +
			"root     a          5     4   tcp4   nowhere               *:*\n", nil},
		{"nobody", head, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := listening.ParseSockstat(row.text, 3696); !reflect.DeepEqual(got, row.want) {
				t.Errorf("got  %+v\nwant %+v", got, row.want)
			}
		})
	}
}
