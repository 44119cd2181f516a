package remote

import (
	"net"
	"testing"

	"telnetcpc/bridge/uart"

	"golang.org/x/sys/unix"
)

// urgent sends p with its last byte as urgent data.
func urgent(t *testing.T, conn *net.TCPConn, p string) {
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	outer := raw.Control(func(fd uintptr) { err = unix.Send(int(fd), []byte(p), unix.MSG_OOB) })
	if outer != nil || err != nil {
		t.Error(outer, err)
	}
}

// A Synch of the server, DM as urgent data (RFC 854), does not lose data. On a raw connection an urgent byte is data, too.
// TLS has no urgent data: it would split a record.
func TestSynch(t *testing.T) {
	call(t, func(s speaker) {
		if s.conn != net.Conn(s.tcp) {
			s.say("ABCDEF")
			return
		}
		dm := "\xff\xf2"
		if s.scheme == SchemeTCP {
			dm = "!"
		}
		urgent(s.t, s.tcp, "A"+dm)
		s.say("BC")
		urgent(s.t, s.tcp, dm)
		s.say("DEF")
	}, func(t *testing.T, s uart.Session) {
		want := "ABCDEF"
		if r, ok := s.(*raw); ok && r.Fidelity() == 0 {
			want = "A!BC!DEF"
		}
		got := ""
		for len(got) < len(want) {
			p, _, err := s.Next()
			if err != nil {
				t.Fatalf("%q, then %v", got, err)
			}
			got += string(p)
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
