//go:build amd64 || arm64

package run_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/run"
)

// recorder is an access server in this process whose UART records what is done to it.
type recorder struct {
	address string
	mu      sync.Mutex // guards events
	events  []string   // each byte and each edge of RTS
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	r, loop := &recorder{}, &simulate.Loopback{}
	loop.Observe(func(rec simulate.Record) {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch e := rec.Event; {
		case e.Kind == uart.KindData:
			for _, b := range rec.Data {
				r.events = append(r.events, fmt.Sprint("byte ", b))
			}
		case e.Kind == uart.KindSettings && e.Control.RTS != 0:
			r.events = append(r.events, fmt.Sprint("RTS ", e.Control.RTS))
		case e.Kind == uart.KindClosed:
			r.events = append(r.events, "closed")
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() {
		over <- accessserver.New(accessserver.Config{Open: loop.Open, Log: slog.New(slog.DiscardHandler)}).Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
	return r
}

// slowAddress returns the address of a relay to the recorder that reads in small pieces, like a slow network.
func (r *recorder) slowAddress(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener or its only client
		near, err := l.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		_ = near.(*net.TCPConn).SetReadBuffer(1) // the kernel uses its minimum
		far, err := net.Dial("tcp", r.address)
		if err != nil {
			return
		}
		defer far.Close()
		go func() { _, _ = io.Copy(near, far) }()
		p := make([]byte, 512)
		for {
			n, err := near.Read(p)
			if _, failed := far.Write(p[:n]); err != nil || failed != nil {
				return
			}
			time.Sleep(time.Millisecond) // the network's pace
		}
	}()
	return l.Addr().String()
}

func (r *recorder) recorded() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.events...)
}

// TestAllEdgesArrive: 20,000 edges of RTS back to back, with bytes between some of them, over a real session: each
// arrives, in its place, and that of the last close after them.
func TestAllEdgesArrive(t *testing.T) {
	t.Parallel()
	const edges = 20_000
	program := compile(t, "gcc", "-pthread", "-Wall", "-Wextra", "-Werror", "testdata/events.c")
	r := newRecorder(t)
	out, errs, status := runTelnetcpc(t, "--as", "/dev/ttyS77", r.slowAddress(t), "--", program, "/dev/ttyS77", "edges")
	if status != 0 || !strings.HasSuffix(out, "ok\n") {
		t.Errorf("status %d: %s\n%s", status, out, errs)
	}
	want := []string{"RTS on"}
	for i := range edges {
		if i%250 == 0 {
			want = append(want, fmt.Sprint("byte ", byte(i/250)))
		}
		want = append(want, "RTS "+uart.LevelOf(i%2 == 1).String())
	}
	want = append(want, "RTS off", "closed")
	eventually(t, "the session ends", func() bool { all := r.recorded(); return len(all) > 0 && all[len(all)-1] == "closed" })
	got := r.recorded()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("got %d events, want %d; event %d is %s, want %s", len(got), len(want), i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d events, want %d", len(got), len(want))
	}
	if strings.Contains(errs, "too fast") {
		t.Error(errs)
	}
}

// localPort is a port of a host in this process, for a program that a test starts.
type localPort struct {
	uart.Port
	host       *run.Host
	path       string
	program    string
	outputFile string // of the program
}

func newLocalPort(t *testing.T, config uart.PortConfig) *localPort {
	t.Helper()
	c := &localPort{host: newHost(t), path: filepath.Join(t.TempDir(), "ttyV0")}
	c.program = compile(t, "gcc", "-pthread", "-Wall", "-Wextra", "-Werror", "testdata/events.c")
	c.outputFile = filepath.Join(t.TempDir(), "output")
	config.Path = c.path
	var err error
	if c.Port, err = c.host.Open(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	over := time.AfterFunc(testenv.Patience, func() { _ = c.Close() })
	t.Cleanup(func() {
		if !over.Stop() {
			t.Errorf("the test is stuck: not done within %v", testenv.Patience)
		}
		_ = c.Close()
	})
	return c
}

// start starts the program, which does a check of testdata/events.c.
func (c *localPort) start(t *testing.T, check string) *run.Program {
	t.Helper()
	return c.startScript(t, `exec "$@" >"$0"`, check)
}

// startScript is start by a shell script.
func (c *localPort) startScript(t *testing.T, script, check string) *run.Program {
	t.Helper()
	p, err := c.host.Start([]string{"/bin/sh", "-c", script, c.outputFile, c.program, c.path, check}, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func (c *localPort) output() string {
	text, _ := os.ReadFile(c.outputFile)
	return string(text)
}

// waitOK waits for the program's exit, which must report success.
func (c *localPort) waitOK(t *testing.T, p *run.Program) {
	t.Helper()
	<-p.Ended()
	if status := p.Status(); status != 0 || !strings.HasSuffix(c.output(), "ok\n") {
		t.Errorf("status %d: %s", status, c.output())
	}
}

// takeEdges takes events until this many edges of RTS have arrived, which must alternate.
func (c *localPort) takeEdges(t *testing.T, most int) {
	t.Helper()
	rts := uart.LevelOn
	for n := 0; n < most; {
		_, e, err := c.Next()
		if err != nil {
			t.Fatalf("next after %d of %d edges: %v", n, most, err)
		}
		switch {
		case e.Kind == uart.KindClosed:
			t.Fatalf("the close comes after %d of %d edges", n, most)
		case e.Control.RTS != 0 && e.Control.DTR == 0:
			if e.Control.RTS == rts {
				t.Fatalf("edge %d: RTS %v twice", n, rts)
			}
			rts = e.Control.RTS
			n++
		}
	}
}

// TestSignalInterruptsHeldCall: the edge that an interrupted call would have made is not made, and none is made twice.
func TestSignalInterruptsHeldCall(t *testing.T) {
	t.Parallel()
	c := newLocalPort(t, uart.PortConfig{})
	p := c.start(t, "held")
	eventually(t, "a call was interrupted", func() bool { return strings.Contains(c.output(), "held after") || hasExited(p) })
	time.Sleep(500 * time.Millisecond) // for a second signal while the call is blocked; if too short, the test only sees less
	if hasExited(p) {
		t.Fatalf("the program was not held: %s", c.output())
	}
	c.takeEdges(t, 2000)
	c.waitOK(t, p)
}

func hasExited(p *run.Program) bool {
	select {
	case <-p.Ended():
		return true
	default:
		return false
	}
}

// newPortWithSession returns a port with a session. held reports whether a call is blocked: then Unsent is called again
// and again.
func newPortWithSession(t *testing.T) (c *localPort, held func() bool) {
	t.Helper()
	var asked atomic.Int64
	c = newLocalPort(t, uart.PortConfig{Unsent: func() uart.Unsent {
		asked.Add(1)
		return uart.Unsent{}
	}})
	return c, func() bool { return asked.Load() > 5 }
}

// TestCloseLetsHeldCallGo: Close makes a blocked call fail with EIO, like an adapter that was pulled out.
func TestCloseLetsHeldCallGo(t *testing.T) {
	c, held := newPortWithSession(t)
	p := c.start(t, "ends")
	eventually(t, "the program is held", func() bool { return held() || hasExited(p) })
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	c.waitOK(t, p)
}

// TestHeldProgramDies: a program that is killed in a blocked call leaves nothing behind, and the next one has a whole
// port.
func TestHeldProgramDies(t *testing.T) {
	t.Parallel()
	c, held := newPortWithSession(t)
	p := c.start(t, "dies")
	eventually(t, "the program is held", func() bool { return held() || hasExited(p) })
	pid := 0
	if _, err := fmt.Sscanf(c.output(), "pid %d", &pid); err != nil {
		t.Fatalf("%q: %v", c.output(), err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	go func() { // ends when the port is closed
		for {
			if _, _, err := c.Next(); err != nil {
				return
			}
		}
	}()
	c.waitOK(t, c.start(t, "dies"))
}

// TestNoCallIsHeldWithoutSession: the last state is reported; changes that were merged are counted and logged.
func TestNoCallIsHeldWithoutSession(t *testing.T) {
	log := &logRecorder{}
	c := newLocalPort(t, uart.PortConfig{Unsent: func() uart.Unsent { return uart.Unsent{Left: -1} }, Log: slog.New(log)})
	c.waitOK(t, c.start(t, "dies"))
	events, rts := 0, uart.Level(0)
	for e := (uart.Event{}); e.Kind != uart.KindClosed; events++ {
		var err error
		if _, e, err = c.Next(); err != nil {
			t.Fatal(err)
		}
		rts = e.Control.Over(uart.Control{RTS: rts}).RTS
	}
	if events > 270 || rts != uart.LevelOff {
		t.Errorf("%d events, RTS finally %v", events, rts)
	}
	eventually(t, "the merged changes are logged", func() bool { return strings.Contains(log.logged(), "went by too fast") })
}

// logRecorder is a slog.Handler that records messages. If block is not nil it blocks until block is closed.
type logRecorder struct {
	block chan struct{}
	mu    sync.Mutex // guards text
	text  string
}

func (k *logRecorder) Enabled(context.Context, slog.Level) bool { return true }
func (k *logRecorder) WithAttrs([]slog.Attr) slog.Handler       { return k }
func (k *logRecorder) WithGroup(string) slog.Handler            { return k }

func (k *logRecorder) Handle(_ context.Context, r slog.Record) error {
	if k.block != nil {
		<-k.block
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.text += r.Message + "\n"
	return nil
}

func (k *logRecorder) logged() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text
}

// TestLogStandsStill: a log that blocks holds up no port, no program and no Close.
func TestLogStandsStill(t *testing.T) {
	log := &logRecorder{block: make(chan struct{})}
	c := newLocalPort(t, uart.PortConfig{Log: slog.New(log)})
	go func() { // ends when the port is closed
		for {
			if _, _, err := c.Next(); err != nil {
				return
			}
		}
	}()
	c.waitOK(t, c.start(t, "remarks"))
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if log.logged() != "" {
		t.Error("the log did not block")
	}
	close(log.block)
	eventually(t, "the warning is logged", func() bool { return strings.Contains(log.logged(), "RTS/CTS and XON/XOFF") })
}

// TestLoopWhileRemoteIsAway: a script that opens, writes and closes again and again, each time waiting in vain for a
// session, makes progress, and ends by SIGTERM.
func TestLoopWhileRemoteIsAway(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	s := startTelnetcpc(t, "1000 rounds\n", "--open-wait", "1ms", address, "--", "sh", "-c",
		`i=0; while :; do echo x >"$TELNETCPC_PORT"; i=$((i+1)); test $i != 1000 || echo 1000 rounds; done`)
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := s.waitExit(t); status != 128+15 {
		t.Errorf("status %d", status)
	}
}
