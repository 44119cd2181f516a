package accessserver_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/rfc2217"
)

// urgent sends p with its last byte as urgent data.
func urgent(t *testing.T, conn net.Conn, p string) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	outer := raw.Control(func(fd uintptr) { err = unix.Send(int(fd), []byte(p), unix.MSG_OOB) })
	if outer != nil || err != nil {
		t.Fatal(outer, err)
	}
}

// A client's Synch, DM as urgent data (RFC 854), costs no data: neither when the connection is accepted nor later.
func TestSynch(t *testing.T) {
	f := overTCP(t)
	c := &caller{Conn: f.dial(), t: t}
	urgent(t, c.Conn, "\xff\xfb\x2c\xff\xf2") // WILL COM-PORT, DM
	c.say([]byte("ABC"))
	c.hears(rfc2217.NotifyModemState, 0)
	f.does("9600 8N1: ABC")
	urgent(t, c.Conn, "DEF\xff\xf2")
	c.say([]byte("GHI"))
	f.does("9600 8N1: ABCDEFGHI")
}
