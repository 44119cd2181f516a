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
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/run"
)

// recorder is an access server in this process, whose UART tells what was done to it.
type recorder struct {
	address string
	mu      sync.Mutex // over did
	did     []string   // each byte and each edge of RTS
}

func records(t *testing.T) *recorder {
	t.Helper()
	r, loop := &recorder{}, &accessserver.Loopback{}
	loop.Observe(func(rec accessserver.Record) {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch e := rec.Event; {
		case e.Kind == uart.KindData:
			for _, b := range rec.Data {
				r.did = append(r.did, fmt.Sprint("byte ", b))
			}
		case e.Kind == uart.KindSettings && e.Control.RTS != 0:
			r.did = append(r.did, fmt.Sprint("RTS ", e.Control.RTS))
		case e.Kind == uart.KindClosed:
			r.did = append(r.did, "closed")
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

// slowly is the address of a relay to the recorder, which takes what comes by small pieces, as a slow network does.
func (r *recorder) slowly(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener, or its only client
		near, err := l.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		_ = near.(*net.TCPConn).SetReadBuffer(1) // the least that there is
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

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.did...)
}

// TestAllEdgesArrive: 20,000 edges of RTS back to back, with bytes between some of them, over a real session: each comes, in its
// place, and the last close's behind them.
func TestAllEdgesArrive(t *testing.T) {
	t.Parallel()
	const edges = 20_000
	program := compile(t, "gcc", "-pthread", "-Wall", "-Wextra", "-Werror", "testdata/events.c")
	r := records(t)
	out, errs, status := runs(t, "--as", "/dev/ttyS77", r.slowly(t), "--", program, "/dev/ttyS77", "edges")
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
	eventually(t, "the session ends", func() bool { all := r.all(); return len(all) > 0 && all[len(all)-1] == "closed" })
	got := r.all()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%d of %d came; as number %d %s, want %s", len(got), len(want), i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d came of %d", len(got), len(want))
	}
	if strings.Contains(errs, "too fast") {
		t.Error(errs)
	}
}

// crowded is a port of a host in this process, and a program that a test has started there.
type crowded struct {
	uart.Port
	host    *run.Host
	path    string
	program string
	said    string // the file that the program writes to
}

func crowd(t *testing.T, config uart.PortConfig) *crowded {
	t.Helper()
	c := &crowded{host: newHost(t), path: filepath.Join(t.TempDir(), "ttyV0")}
	c.program = compile(t, "gcc", "-pthread", "-Wall", "-Wextra", "-Werror", "testdata/events.c")
	c.said = filepath.Join(t.TempDir(), "said")
	config.Path = c.path
	var err error
	if c.Port, err = c.host.Open(context.Background(), config); err != nil {
		t.Fatal(err)
	}
	over := time.AfterFunc(testenv.Patience, func() { _ = c.Close() })
	t.Cleanup(func() {
		if !over.Stop() {
			t.Errorf("something did not come within %v", testenv.Patience)
		}
		_ = c.Close()
	})
	return c
}

// starts starts the program, which does a check.
func (c *crowded) starts(t *testing.T, check string) *run.Program {
	t.Helper()
	return c.startsBy(t, `exec "$@" >"$0"`, check)
}

// startsBy is starts by a script.
func (c *crowded) startsBy(t *testing.T, script, check string) *run.Program {
	t.Helper()
	p, err := c.host.Start([]string{"/bin/sh", "-c", script, c.said, c.program, c.path, check}, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func (c *crowded) output() string {
	text, _ := os.ReadFile(c.said)
	return string(text)
}

// ends waits for the program, which must be content.
func (c *crowded) ends(t *testing.T, p *run.Program) {
	t.Helper()
	<-p.Ended()
	if status := p.Status(); status != 0 || !strings.HasSuffix(c.output(), "ok\n") {
		t.Errorf("status %d: %s", status, c.output())
	}
}

// edges takes events until so many edges of RTS have come, which must alternate.
func (c *crowded) edges(t *testing.T, most int) {
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

// TestSignalInterruptsHeldCall: and the edge that it would have made is not made, nor one twice.
func TestSignalInterruptsHeldCall(t *testing.T) {
	t.Parallel()
	c := crowd(t, uart.PortConfig{})
	p := c.starts(t, "held")
	eventually(t, "a call was interrupted", func() bool { return strings.Contains(c.output(), "held after") || over(p) })
	time.Sleep(500 * time.Millisecond) // so that a second signal comes while it is held; too early only makes this test see less
	if over(p) {
		t.Fatalf("the program was not held: %s", c.output())
	}
	c.edges(t, 2000)
	c.ends(t, p)
}

func over(p *run.Program) bool {
	select {
	case <-p.Ended():
		return true
	default:
		return false
	}
}

// holding is a port with a session, and whether a call is held: then it is asked again and again what is unsent.
func holding(t *testing.T) (c *crowded, held func() bool) {
	t.Helper()
	var asked atomic.Int64
	c = crowd(t, uart.PortConfig{Unsent: func() uart.Unsent {
		asked.Add(1)
		return uart.Unsent{}
	}})
	return c, func() bool { return asked.Load() > 5 }
}

// TestCloseLetsHeldCallGo: with EIO, as an adapter that was pulled out.
func TestCloseLetsHeldCallGo(t *testing.T) {
	c, held := holding(t)
	p := c.starts(t, "ends")
	eventually(t, "the program is held", func() bool { return held() || over(p) })
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	c.ends(t, p)
}

// TestHeldProgramDies: nothing of it stays, and the next program has a whole port.
func TestHeldProgramDies(t *testing.T) {
	t.Parallel()
	c, held := holding(t)
	p := c.starts(t, "dies")
	eventually(t, "the program is held", func() bool { return held() || over(p) })
	pid := 0
	if _, err := fmt.Sscanf(c.output(), "pid %d", &pid); err != nil {
		t.Fatalf("%q: %v", c.output(), err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	go func() { // ends with the port
		for {
			if _, _, err := c.Next(); err != nil {
				return
			}
		}
	}()
	c.ends(t, c.starts(t, "dies"))
}

// TestNobodyIsHeldWithoutSession: the last state is told, and what is left out is counted and said.
func TestNobodyIsHeldWithoutSession(t *testing.T) {
	log := &keeps{}
	c := crowd(t, uart.PortConfig{Unsent: func() uart.Unsent { return uart.Unsent{Left: -1} }, Log: slog.New(log)})
	c.ends(t, c.starts(t, "dies"))
	events, rts := 0, uart.Level(0)
	for e := (uart.Event{}); e.Kind != uart.KindClosed; events++ {
		var err error
		if _, e, err = c.Next(); err != nil {
			t.Fatal(err)
		}
		rts = e.Control.Over(uart.Control{RTS: rts}).RTS
	}
	if events > 270 || rts != uart.LevelOff {
		t.Errorf("%d events, RTS at last %v", events, rts)
	}
	eventually(t, "it is said", func() bool { return strings.Contains(log.all(), "went by too fast") })
}

// keeps is a log's handler that keeps what it gets; where block is set, once that is closed.
type keeps struct {
	block chan struct{}
	mu    sync.Mutex // over text
	text  string
}

func (k *keeps) Enabled(context.Context, slog.Level) bool { return true }
func (k *keeps) WithAttrs([]slog.Attr) slog.Handler       { return k }
func (k *keeps) WithGroup(string) slog.Handler            { return k }

func (k *keeps) Handle(_ context.Context, r slog.Record) error {
	if k.block != nil {
		<-k.block
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.text += r.Message + "\n"
	return nil
}

func (k *keeps) all() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text
}

// TestLogStandsStill: a log that nobody reads holds no port, no program and no Close.
func TestLogStandsStill(t *testing.T) {
	log := &keeps{block: make(chan struct{})}
	c := crowd(t, uart.PortConfig{Log: slog.New(log)})
	go func() { // ends with the port
		for {
			if _, _, err := c.Next(); err != nil {
				return
			}
		}
	}()
	c.ends(t, c.starts(t, "remarks"))
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if log.all() != "" {
		t.Error("the log did not stand still")
	}
	close(log.block)
	eventually(t, "it is said", func() bool { return strings.Contains(log.all(), "RTS/CTS and XON/XOFF") })
}

// TestLoopWhileRemoteIsAway: a script that opens, writes and closes again and again, each time waiting for a session that
// does not come, finds an end, and ends by SIGTERM.
func TestLoopWhileRemoteIsAway(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	s := starts(t, "1000 rounds\n", "--open-wait", "1ms", address, "--", "sh", "-c",
		`i=0; while :; do echo x >"$TELNETCPC_PORT"; i=$((i+1)); test $i != 1000 || echo 1000 rounds; done`)
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := s.ends(t); status != 128+15 {
		t.Errorf("status %d", status)
	}
}
