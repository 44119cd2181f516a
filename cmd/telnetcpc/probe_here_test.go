package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/listening"
	"telnetcpc/bridge/probe"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/testenv"
)

var generous = probe.Options{Timeout: time.Minute}

// listenHere listens in this process, which probe must find.
func listenHere(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil && strings.HasSuffix(network, "6") {
		t.Skipf("no IPv6 here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func portOfListener(l net.Listener) uint16 { return netip.MustParseAddrPort(l.Addr().String()).Port() }

// serveOn runs an access server until the test ends.
func serveOn(t *testing.T, l net.Listener) {
	t.Helper()
	server := accessserver.New(accessserver.Config{
		Open: (&simulate.Loopback{}).Open, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// greetOn greets like an SSH server until the listener is closed.
func greetOn(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n")
		_ = conn.Close()
	}
}

// here returns the text of probe without a URL.
func here(t *testing.T, port uint16) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := probeHere(t.Context(), &out, port, generous, false)
	if err != nil && strings.Contains(err.Error(), "neither lsof nor sockstat") {
		t.Skip(err)
	}
	return out.String(), err
}

func TestProbeHere(t *testing.T) {
	for _, row := range []struct{ network, address, want string }{
		{"tcp4", "127.0.0.1:0", "127.0.0.1"},
		{"tcp6", "[::1]:0", "[::1]"},
		{"tcp4", "0.0.0.0:0", "0.0.0.0"},
		{"tcp6", "[::]:0", "[::]"},
	} {
		t.Run(row.network+" "+row.want, func(t *testing.T) {
			l := listenHere(t, row.network, row.address)
			serveOn(t, l)
			got, err := here(t, portOfListener(l))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(got, "\n")
			first := fmt.Sprintf("%s:%d: ", row.want, portOfListener(l))
			who := fmt.Sprintf(", pid %d, user ", os.Getpid())
			got = withoutScope(lines[0])
			unseen := testenv.Wine && strings.Contains(got, "process not visible") // it rarely knows a listener's process
			if !strings.HasPrefix(got, first) || !unseen && !strings.Contains(got, who) {
				t.Errorf("got %q, want %q and %q", got, first, who)
			}
			want := []string{"    An RFC 2217 access server: telnetcpc, by its signature.", ""}
			if strings.Join(lines[1:], "\n") != strings.Join(want, "\n") {
				t.Errorf("got %q, want %q", lines[1:], want)
			}
		})
	}
}

// withoutScope removes the scope that Wine invents for ::1.
func withoutScope(s string) string {
	if testenv.Wine {
		return regexp.MustCompile(`^(\[?::1)%\d+`).ReplaceAllString(s, "$1")
	}
	return s
}

// One access server of two listeners is enough for status 0. The JSON has both.
func TestProbeHereJSON(t *testing.T) {
	other := listenHere(t, "tcp6", "[::1]:0")
	go greetOn(other)
	port := portOfListener(other)
	serveOn(t, listenHere(t, "tcp4", fmt.Sprintf("127.0.0.1:%d", port)))
	if _, err := here(t, port); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := probeHere(t.Context(), &out, port, generous, true); err != nil {
		t.Fatal(err)
	}
	var got []probe.Local
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("got %d listeners, want 2:\n%s", len(got), out.Bytes())
	}
	for i, want := range []struct {
		address string
		is      bool
	}{{"127.0.0.1", true}, {"::1", false}} {
		f := got[i]
		known := testenv.Wine || f.PID == os.Getpid() && f.Process != "" && f.User != ""
		if withoutScope(f.Address) != want.address || f.Port != port || !known || f.Error != "" {
			t.Errorf("got %+v, want this process at %s", f, want.address)
		}
		if isAccessServer(f) != want.is {
			t.Errorf("%s is an access server: %v, want %v", f.Address, isAccessServer(f), want.is)
		}
	}
}

func TestProbeHereSomethingElse(t *testing.T) {
	l := listenHere(t, "tcp4", "127.0.0.1:0")
	go greetOn(l)
	got, err := here(t, portOfListener(l))
	if !errors.Is(err, remote.ErrNotAccessServer) || status(err) != exitFailed {
		t.Errorf("got %v, want %v and status 1", err, remote.ErrNotAccessServer)
	}
	if !strings.Contains(got, "SSH") {
		t.Errorf("got %q, want it to name SSH", got)
	}
}

func TestProbeHereNobody(t *testing.T) {
	l := listenHere(t, "tcp4", "127.0.0.1:0")
	port := portOfListener(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := here(t, port)
	want := fmt.Sprintf("probe: nothing listens on TCP port %d of this machine (telnetcpc serve DEVICE makes an access server)", port)
	if err == nil || err.Error() != want || got != "" {
		t.Errorf("got %q and %v, want nothing and %q", got, err, want)
	}
}

func TestProbeHereInterrupted(t *testing.T) {
	l := listenHere(t, "tcp4", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := probeHere(ctx, &out, portOfListener(l), generous, false); err == nil || out.Len() > 0 {
		t.Errorf("got %q and %v, want nothing but an error", out.String(), err)
	}
}

// Processes that share a socket have one verdict, under the last of them; what the system reports is escaped.
func TestPrintFound(t *testing.T) {
	is := &probe.Report{AccessServer: true, LooksLike: "an RFC 2217 access server: telnetcpc, by its signature"}
	var out bytes.Buffer
	err := printFound(&out, []probe.Local{
		{Address: "0.0.0.0", Port: 9, PID: 7, Error: "from this machine, 127.0.0.1:9 reaches another listener (probe it from another machine)"},
		{Address: "127.0.0.1", Port: 9, PID: 8, Process: "one\x1b[2J", Report: is},
		{Address: "127.0.0.1", Port: 9, Report: is},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	hidden := listening.Hidden()
	want := fmt.Sprintf(`0.0.0.0:9: pid 7, name not visible (%s)
    Not reached: from this machine, 127.0.0.1:9 reaches another listener (probe it from another machine).
127.0.0.1:9: one\x1b[2J, pid 8
127.0.0.1:9: process not visible (%s)
    An RFC 2217 access server: telnetcpc, by its signature.
`, hidden, hidden)
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}
