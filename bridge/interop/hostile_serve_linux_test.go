package interop

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// vanishedMost is 15 s, and 15 s for a busy machine.
const vanishedMost = 30 * time.Second

// TestServeClientVanishes: a client that owns the device vanishes without FIN or reset, in the middle of traffic. The
// next client, from another address, gets the device in time: whether device bytes are in flight to the first one, its
// window is closed, or nothing is in flight.
func TestServeClientVanishes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		floods bool // it sends bytes, settings and verbs
		reads  bool // it reads what comes back
	}{
		{"in mid-flood", true, true},
		{"in mid-flood, window closed", true, false},
		{"quiet", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			n.run("ip", "-n", n.server, "link", "set", "lo", "up")
			l := n.listen()
			log := serveLoop(t, l)
			at := l.Addr().String()

			gone := n.dial(n.client, at)
			owns(t, gone)
			if tt.floods {
				go flood(gone) // ends with the connection
			}
			if tt.reads {
				go func() { _, _ = io.Copy(io.Discard, gone) }()
			}
			time.Sleep(2 * time.Second) // of the flood, so that buffers fill
			n.filter("ip saddr " + clientAddress + " drop; ip daddr " + clientAddress + " drop")

			began := time.Now()
			s := n.realClient(n.server, at)
			took := time.Since(began)
			defer func() { _ = s.Close() }()
			if took > vanishedMost {
				t.Errorf("the next client got the device after %v", took)
			}
			lines := strings.Count(log.String(), "\n")
			if lines > 12 {
				t.Errorf("log: %d lines\n%s", lines, lastOf(log))
			}
			t.Logf("the next client got the device after %v; %d log lines", took.Round(time.Millisecond), lines)
		})
	}
}

// serveLoop serves a loop plug on l in this process, and returns its log.
func serveLoop(t *testing.T, l net.Listener) *testenv.Output {
	log := new(testenv.Output)
	plug := &simulate.Loopback{}
	s := accessserver.New(accessserver.Config{Open: plug.Open, Log: slog.New(slog.NewTextHandler(log, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		if t.Failed() {
			t.Logf("log of serve:\n%s", lastOf(log))
		}
	})
	return log
}

// dial connects from a namespace, to a numeric address.
func (n *network) dial(namespace, at string) *net.TCPConn {
	n.t.Helper()
	var conn net.Conn
	err := atNamespace(namespace, func() (err error) {
		conn, err = net.DialTimeout("tcp", at, testenv.Patience)
		return err
	})
	if err != nil {
		n.t.Fatalf("dial %s from %s: %v", at, namespace, err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// owns makes a client the owner of the device, on a line that takes no time.
func owns(t *testing.T, conn net.Conn) {
	t.Helper()
	hello := telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort)
	hello = append(rfc2217.AppendSettings(hello, uart.Event{Kind: uart.KindSettings, Coding: fastLine}), "hello"...)
	if _, err := conn.Write(hello); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(testenv.Patience))
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	got, buf := []byte(nil), make([]byte, 1024)
	for !bytes.Contains(got, []byte("hello")) { // it came back through the loop plug
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("the first client does not get the device: %v", err)
		}
		got = append(got, buf[:n]...)
	}
}

// fastLine is a line that takes no time.
var fastLine = uart.Coding{Baud: 20_000_000, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1}

// flood sends everything that a client can send, until the connection fails.
func flood(conn net.Conn) {
	p := bytes.Repeat([]byte("and on it goes\r\n"), 1000)
	p = telnet.AppendVerb(p, telnet.DO, 200)
	p = telnet.AppendSub(p, telnet.ComPort, []byte{0})
	p = telnet.AppendSub(p, telnet.ComPort, []byte{5, 8})
	for {
		if _, err := conn.Write(p); err != nil {
			return
		}
	}
}

// realClient dials from a namespace until it has the device.
func (n *network) realClient(namespace, at string) (s uart.Session) {
	n.t.Helper()
	url, err := remote.Parse("rfc2217://" + at)
	if err != nil {
		n.t.Fatal(err)
	}
	r, err := remote.New(url, remote.Options{})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), 2*testenv.Patience)
	defer cancel()
	err = atNamespace(namespace, func() (err error) {
		for ctx.Err() == nil {
			if s, err = r.Dial(ctx, 0); err == nil {
				return nil
			}
			time.Sleep(100 * time.Millisecond) // as a bridge after a failed dial
		}
		return err
	})
	if err != nil {
		n.t.Fatalf("the next client does not get the device in %v: %v", 2*testenv.Patience, err)
	}
	return s
}
