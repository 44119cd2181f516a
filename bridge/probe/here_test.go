package probe_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/listening"
	"telnetcpc/bridge/probe"
)

// accessServer is one at the loopback address, until the test ends.
func accessServer(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := accessserver.New(accessserver.Config{
		Open: (&simulate.Loopback{}).Open, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, l) }() // ended by cancel
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// A socket is probed once, even if several processes share it. A listener that is hidden by another at the loopback
// address is not probed at all.
func TestEach(t *testing.T) {
	own := accessServer(t)
	list, err := probe.Each(t.Context(), []listening.Listener{
		{Address: netip.AddrPortFrom(netip.IPv4Unspecified(), own.Port()), PID: 7},
		{Address: own, PID: 8, Process: "one\x1b[2J"},
		{Address: own},
	}, probe.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	report := list[1].Report
	if report == nil || report != list[2].Report {
		t.Fatal("the two processes of one socket have two reports")
	}
	if want := "an RFC 2217 access server: telnetcpc, by its signature"; report.LooksLike != want {
		t.Errorf("it looks like %q, want %q", report.LooksLike, want)
	}
	want := []probe.Local{
		{Address: "0.0.0.0", Port: own.Port(), PID: 7,
			Error: "from this machine, " + own.String() + " reaches another listener (probe it from another machine)"},
		{Address: "127.0.0.1", Port: own.Port(), PID: 8, Process: "one\x1b[2J", Report: report},
		{Address: "127.0.0.1", Port: own.Port(), Report: report},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("got  %+v\nwant %+v", list, want)
	}
}
