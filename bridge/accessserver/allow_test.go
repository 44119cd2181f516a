package accessserver_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/testenv"
)

func TestParseRange(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.5":            "10.0.0.5",
		"10.0.0.5/32":         "10.0.0.5",
		"192.168.1.7/24":      "192.168.1.0/24",
		"0.0.0.0/0":           "0.0.0.0/0",
		"::1":                 "::1",
		"::/0":                "::/0",
		"FD00::5/8":           "fd00::/8",
		"::ffff:127.0.0.1":    "127.0.0.1",
		"::ffff:10.0.0.0/104": "10.0.0.0/8",
		"::ffff:0:0/96":       "0.0.0.0/0",
		"fe80::1%eth0":        "fe80::1%eth0",
		"fe80::1%eth0/64":     "fe80::%eth0/64",
		"fe80::/10":           "fe80::/10",
	} {
		r, err := accessserver.ParseRange(in)
		if err != nil || r.String() != want {
			t.Errorf("ParseRange(%q): got %v, %v; want %s", in, r, err, want)
		}
	}
	for _, in := range []string{
		"", "localhost", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8/8", "10.0.0.5:80",
		"[::1]", "::1/129", "fe80::1%", "fe80::/64%eth0", "::ffff:10.0.0.0/8", "10.0.0.5 ", "10.0.0.0/255.0.0.0", "\x1b",
		"::ffff:10.0.0.5%eth0", "::ffff:169.254.1.1%0", "::ffff:10.0.0.0%eth0/104", "::ffff:0:0%0/96",
		"2001:db8::1%eth0", "fe80::%eth0/0", "fe80::%eth0/9", "::1%lo", "::%eth0/0",
	} {
		r, err := accessserver.ParseRange(in)
		if err == nil || strings.ContainsAny(err.Error(), "\n\x1b") || !strings.Contains(err.Error(), "want an address or a network, as in 10.0.0.5") {
			t.Errorf("ParseRange(%q): got %v, %v; want one line that says what is accepted", in, r, err)
		}
	}
}

func TestRangeContains(t *testing.T) {
	for _, tt := range []struct {
		allow, from string
		want        bool
	}{
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "::ffff:127.0.0.1", true},
		{"::ffff:127.0.0.1", "127.0.0.1", true},
		{"::ffff:127.0.0.1", "::ffff:127.0.0.1", true},
		{"127.0.0.1", "127.0.0.2", false},
		{"127.0.0.1", "::1", false},
		{"10.0.0.0/8", "::ffff:10.9.8.7", true},
		{"::/0", "10.9.8.7", false},
		{"::/0", "2001:db8::1", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"fe80::/10", "fe80::1%eth0", true},
		{"fe80::1", "fe80::1%eth1", true},
		{"fe80::1%eth0", "fe80::1%eth0", true},
		{"fe80::1%eth0", "fe80::1%eth1", false},
		{"fe80::%eth0/64", "fe80::7%eth0", true},
		{"fe80::%eth0/64", "fe80::7%eth1", false},
	} {
		r, err := accessserver.ParseRange(tt.allow)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Contains(netip.MustParseAddr(tt.from)); got != tt.want {
			t.Errorf("%s contains %s: %v, want %v", tt.allow, tt.from, got, tt.want)
		}
	}
	if new(accessserver.Range).Contains(netip.MustParseAddr("127.0.0.1")) {
		t.Error("the zero range contains 127.0.0.1")
	}
}

// FuzzRangeRoundTrip: String writes a range so that ParseRange reads the same range.
func FuzzRangeRoundTrip(f *testing.F) {
	for _, s := range []string{"10.0.0.5", "10.0.0.0/8", "::ffff:10.0.0.0/104", "fe80::1%eth0", "fe80::%eth0/64", "::/0", "fe80::%0/0", "::ffff:169.254.0.1%0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := accessserver.ParseRange(s)
		if err != nil {
			return
		}
		if again, err := accessserver.ParseRange(r.String()); err != nil || again != r {
			t.Errorf("ParseRange(%q) prints %q, which is read as %v, %v", s, r, again, err)
		}
	})
}

// A client that is not allowed is disconnected without a message, before TLS and before the device. Others do not notice.
func TestAllow(t *testing.T) {
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	for _, tt := range []struct {
		name string
		tls  *accessserver.TLS
	}{
		{"plain", nil},
		{"TLS", loadTLS(t, accessserver.TLSFiles{Cert: own.cert, Key: own.key})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := tcp.Listen(t.Context(), ":0") // both families in one socket if the system can: IPv4 comes as ::ffff:127.0.0.1
			if err != nil {
				t.Fatal(err)
			}
			allow, err := accessserver.ParseRange("::ffff:127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			f := (&far{t: t}).startWith(l, accessserver.Config{Open: new(simulate.Loopback).Open, TLS: tt.tls, Allow: []accessserver.Range{allow}})
			_, port, _ := net.SplitHostPort(l.Addr().String())
			stranger := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			conn, err := stranger.Dial("tcp", "127.0.0.1:"+port)
			if err != nil {
				t.Skipf("127.0.0.2 is not an address of this machine: %v", err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(testenv.Patience))
			if said, err := io.ReadAll(conn); len(said) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a client that is not allowed reads %q, %v; want the end, and nothing before it", said, err)
			}
			f.awaitLog("client refused: its address is not allowed", "client=127.0.0.2:")
			f.dial = func() net.Conn {
				conn, err := net.Dial("tcp", "127.0.0.1:"+port)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				if tt.tls != nil {
					return through(t, conn, own.trusts())
				}
				return conn
			}
			_ = f.call().Close()
		})
	}
}
