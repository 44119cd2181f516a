package interop

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// dialInside dials from a namespace.
func dialInside(namespace, address string) (c net.Conn, err error) {
	err = atNamespace(namespace, func() error {
		c, err = net.Dial("tcp", address)
		return err
	})
	return c, err
}

// serverLog is the log of an access server in this process.
type serverLog struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *serverLog) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// talker is a UART whose device sends all the time.
type talker struct {
	uart.Device
	closed chan struct{}
	once   sync.Once
}

func (d *talker) Next() ([]byte, uart.Event, error) {
	select {
	case <-time.After(10 * time.Millisecond): // the line's pace
		return bytes.Repeat([]byte("t"), 4096), uart.Event{}, nil
	case <-d.closed:
		return nil, uart.Event{}, uart.ErrClosed
	}
}

func (d *talker) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Device.Close()
}

// visited starts an access server in the server's namespace and connects a client from the client's.
func (n *network) visited(t *testing.T, talks bool) (*serverLog, net.Conn) {
	t.Helper()
	log := new(serverLog)
	s := accessserver.New(accessserver.Config{
		Log: slog.New(slog.NewTextHandler(log, nil)),
		Open: func(ctx context.Context) (uart.Device, error) {
			d, err := new(simulate.Loopback).Open(ctx)
			if err == nil && talks {
				d = &talker{Device: d, closed: make(chan struct{})}
			}
			return d, err
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	l, over := n.listen(), make(chan error, 1)
	go func() { over <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-over
		if t.Failed() {
			t.Logf("log of the server:\n%s", log.text.String())
		}
	})
	c, err := dialInside(n.client, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client has the device", func() bool { return log.has("client connected") })
	return log, c
}

// readOn reads at least most bytes.
func readOn(t *testing.T, c net.Conn, most int) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(testenv.Patience))
	p := make([]byte, 32<<10)
	for got := 0; got < most; {
		n, err := c.Read(p)
		if got += n; err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
	}
}

// persists reports whether the server's TCP probes a client's closed window.
func (n *network) persists() bool {
	out, err := exec.Command("ip", "netns", "exec", n.server, "ss", "-tno").CombinedOutput()
	return err == nil && strings.Contains(string(out), "timer:(persist")
}

// A client that vanished loses the device after 15 s, whether the device sends or is silent, even if its window was
// closed when it vanished. A client that is alive and does not read keeps it.
func TestVanishedClient(t *testing.T) {
	t.Parallel()
	const lost = "client lost: unresponsive"
	probed := noticed
	if !probesOften() {
		probed = testenv.Patience
	}
	vanishes := func(t *testing.T, n *network, log *serverLog, most time.Duration) {
		t.Helper()
		began := time.Now()
		n.drop()
		eventually(t, "the client is given up", func() bool { return log.has(lost) })
		if took := time.Since(began); took > most {
			t.Errorf("given up after %v, want %v at most", took, most)
		} else {
			t.Logf("given up after %v", took)
		}
	}
	t.Run("talking device", func(t *testing.T) {
		t.Parallel()
		n := newNetwork(t)
		log, c := n.visited(t, true)
		readOn(t, c, 100_000)
		vanishes(t, n, log, noticed)
	})
	t.Run("quiet device", func(t *testing.T) {
		t.Parallel()
		n := newNetwork(t)
		log, _ := n.visited(t, false)
		vanishes(t, n, log, noticed)
	})
	t.Run("window closed", func(t *testing.T) {
		t.Parallel()
		n := newNetwork(t)
		log, _ := n.visited(t, true)
		eventually(t, "TCP probes the window", n.persists)
		vanishes(t, n, log, probed)
	})
	t.Run("window closed and alive", func(t *testing.T) {
		t.Parallel()
		n := newNetwork(t)
		log, c := n.visited(t, true)
		eventually(t, "TCP probes the window", n.persists)
		time.Sleep(20 * time.Second) // the time under test
		if log.has(lost) {
			t.Error("a client that is alive was given up")
		}
		readOn(t, c, 1<<20)
	})
}
