package listening_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/listening"
	"telnetcpc/bridge/testenv"
)

// open listens in this process, on a free port or on the port given. It skips if the machine lacks the address family.
func open(t *testing.T, network, address string) (net.Listener, uint16) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil && strings.HasSuffix(network, "6") {
		t.Skipf("no IPv6 here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, netip.MustParseAddrPort(l.Addr().String()).Port()
}

// on returns who listens on a port. It skips if the program that lists listeners on this system is not installed.
func on(t *testing.T, port uint16) []listening.Listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all, err := listening.On(ctx, port)
	if err != nil && strings.Contains(err.Error(), "neither lsof nor sockstat") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every listener is this process: each is found once, at its own address, with this process's name, PID and user.
func TestOn(t *testing.T) {
	for _, row := range []struct{ name, network, address, want string }{
		{"IPv4", "tcp4", "127.0.0.1:0", "127.0.0.1"},
		{"every IPv4 address", "tcp4", "0.0.0.0:0", "0.0.0.0"},
		{"IPv6", "tcp6", "[::1]:0", "::1"},
		{"every IPv6 address", "tcp6", "[::]:0", "::"},
		{"every address of both", "tcp", ":0", "::"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, port := open(t, row.network, row.address)
			if row.network == "tcp" && !has6(t) {
				t.Skip("no IPv6 here: the listener has only IPv4")
			}
			all := on(t, port)
			if len(all) != 1 {
				t.Fatalf("got %d listeners, want one: %+v", len(all), all)
			}
			got := all[0]
			if address(got) != row.want || got.Address.Port() != port {
				t.Errorf("got address %v, want %s at port %d", got.Address, row.want, port)
			}
			checkOurs(t, got)
			checkReach(t, l, got)
		})
	}
}

// address returns where a listener listens. Wine invents a scope for ::1, which has none.
func address(l listening.Listener) string {
	if testenv.Wine {
		return l.Address.Addr().WithZone("").String()
	}
	return l.Address.Addr().String()
}

func has6(t *testing.T) bool {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func checkOurs(t *testing.T, got listening.Listener) {
	t.Helper()
	if testenv.Wine && got.PID == 0 {
		t.Log("Wine lists this listener without its owner: process, name and user are not checked")
		return
	}
	if got.PID != os.Getpid() {
		t.Errorf("got process %d, want %d", got.PID, os.Getpid())
	}
	if program := filepath.Base(os.Args[0]); got.Process == "" || !strings.HasPrefix(program, got.Process) {
		t.Errorf("got name %q, want %q or its beginning", got.Process, program)
	}
	if me, err := user.Current(); err == nil && got.User != me.Username {
		t.Errorf("got user %q, want %q", got.User, me.Username)
	}
}

// checkReach connects to the address that Reach returns.
func checkReach(t *testing.T, l net.Listener, got listening.Listener) {
	t.Helper()
	at := got.Reach()
	if at.Addr().IsUnspecified() {
		t.Fatalf("Reach returned %v: nobody can connect to that", at)
	}
	conn, err := net.DialTimeout("tcp", at.String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = other.Close()
}

func TestOnTwoSockets(t *testing.T) {
	_, port := open(t, "tcp6", "[::1]:0")
	open(t, "tcp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
	all := on(t, port)
	if len(all) != 2 || !all[0].Address.Addr().Is4() || !all[1].Address.Addr().Is6() {
		t.Errorf("got %+v, want 127.0.0.1 and then ::1", all)
	}
}

// A connection is not a listener, and neither is a listener that has closed.
func TestOnNobody(t *testing.T) {
	l, port := open(t, "tcp4", "127.0.0.1:0")
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if all := on(t, port); len(all) != 0 {
		t.Errorf("got %+v, want nobody", all)
	}
}

func TestReach(t *testing.T) {
	for _, row := range []struct{ at, want string }{
		{"127.0.0.1:1", "127.0.0.1:1"}, {"0.0.0.0:2", "127.0.0.1:2"}, {"10.0.0.5:3", "10.0.0.5:3"},
		{"[::1]:4", "[::1]:4"}, {"[fe80::1%7]:5", "[fe80::1%7]:5"},
	} {
		if got := (listening.Listener{Address: at(row.at)}).Reach(); got.String() != row.want {
			t.Errorf("%s is reached at %v, want %s", row.at, got, row.want)
		}
	}
}

// A listener that the list covers is not connected to.
func TestUnseen(t *testing.T) {
	_, port := open(t, "tcp4", "127.0.0.1:0")
	own := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	for _, row := range []struct {
		name string
		seen string
		want int
	}{
		{"empty list", "", 1},
		{"in the list", "127.0.0.1", 0},
		{"in the list at every IPv4 address", "0.0.0.0", 0},
		{"in the list at every address of both families", "::", 0},
		{"another in the list", "::1", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var seen []listening.Listener
			if row.seen != "" {
				seen = append(seen, listening.Listener{Address: netip.AddrPortFrom(netip.MustParseAddr(row.seen), port)})
			}
			got := listening.Unseen(t.Context(), port, seen)
			if len(got) != row.want || row.want == 1 && got[0] != (listening.Listener{Address: own}) {
				t.Errorf("got %+v, want %d at %v", got, row.want, own)
			}
		})
	}
}

func TestHidden(t *testing.T) {
	if runtime.GOOS == "windows" != strings.Contains(listening.Hidden(), "administrator") {
		t.Errorf("on %s Hidden is %q", runtime.GOOS, listening.Hidden())
	}
}
