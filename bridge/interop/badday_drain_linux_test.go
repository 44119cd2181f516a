package interop

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// runWorks returns why telnetcpc run does not work on this machine; nil if it works.
var runWorks = sync.OnceValue(func() error {
	telnetcpc, err := binary(testenv.Race)
	if err != nil {
		return err
	}
	if out, err := exec.Command(telnetcpc, "run", "tcp://127.0.0.1:1", "--", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
})

// needRun skips the test unless telnetcpc run works on this machine.
func needRun(t *testing.T) {
	t.Helper()
	if err := runWorks(); err != nil {
		why := fmt.Sprintf("telnetcpc run does not work here: %v", err)
		testenv.Skip(t, why)
	}
}

// runner is a telnetcpc run with testdata/badday.c as its program.
type runner struct {
	*puppet
	path string // the port
}

// startRun starts one.
func startRun(t *testing.T, url string, flags ...string) *runner {
	t.Helper()
	needRun(t)
	program := compile(t, "badday")
	telnetcpc, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ttyV0")
	cmd := exec.Command(telnetcpc, slices.Concat([]string{"run", "--port", path}, flags, []string{url, "--", program, path})...)
	cmd.WaitDelay = time.Second // if run is killed, its program keeps the pipes open
	p := &runner{puppet: startPuppet(t, cmd), path: path}
	t.Cleanup(func() { // runs before the cleanup of start, which kills the process
		_ = p.in.(io.Closer).Close() // the program ends, and so does run
		select {
		case <-p.done:
		case <-time.After(testenv.Patience):
			t.Error("telnetcpc run does not end after its program")
		}
		if strings.Contains(p.out.String(), "WARNING: DATA RACE") {
			t.Error("telnetcpc run has a data race")
		}
	})
	return p
}

// orders gives the program orders, one after the other, and waits until each is done.
func (p *runner) orders(t *testing.T, orders ...string) {
	t.Helper()
	for _, order := range orders {
		p.do(t, order)
		p.replies(t, "done")
	}
}

// drains makes the program call tcdrain, and returns when that returned, on CLOCK_MONOTONIC.
func (p *runner) drains(t *testing.T) time.Duration {
	t.Helper()
	p.do(t, "drain")
	reply, err := p.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("drain: %v\n%s", err, lastOf(p.out))
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(reply), 10, 64)
	if err != nil {
		t.Fatalf("the program replied %q, want a time", reply)
	}
	return time.Duration(ns)
}

// monotonic returns a function that converts a time.Time to CLOCK_MONOTONIC, which all processes share.
func monotonic(t *testing.T) func(time.Time) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	base := time.Now() // not before ts, so results are never too late
	return func(at time.Time) time.Duration { return time.Duration(ts.Nano()) + at.Sub(base) }
}

// relay relays to a far as ssh -L does: it acknowledges at once what the client sends, and passes it on in order, up to
// jitter later.
func relay(t *testing.T, f *far, jitter time.Duration) (url string) {
	t.Helper()
	r := startFar(t, func(_ *far, c *net.TCPConn) {
		server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", f.port))
		if err != nil {
			return
		}
		defer func() { _ = server.Close() }()
		go jittery(c, server, jitter) // ends with the connections
		jittery(server, c, jitter)
	})
	return r.url()
}

// jittery copies one direction of a relay.
func jittery(to, from net.Conn, most time.Duration) {
	type piece struct {
		p   []byte
		due time.Time
	}
	pieces := make(chan piece, 1024)
	go func() { // ends with the connection
		defer close(pieces)
		for {
			p := make([]byte, 4096)
			n, err := from.Read(p)
			if n > 0 {
				pieces <- piece{p[:n], time.Now().Add(rand.N(most))}
			}
			if err != nil {
				return
			}
		}
	}()
	for next := range pieces {
		time.Sleep(time.Until(next.due)) // the delay
		if _, err := to.Write(next.p); err != nil {
			_ = from.Close() // the reader ends, and so does this loop
		}
	}
	_ = to.(*net.TCPConn).CloseWrite()
}

// tcdrain never returns before the far UART has sent the last stop bit, even through a relay that acknowledges at once and
// delivers later. The program's time and the UART's are on one clock.
func TestDrainThroughRelay(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	p := startRun(t, relay(t, f, 20*time.Millisecond))
	p.orders(t, "open")
	v := f.next()
	clock := monotonic(t)
	const rounds = 52
	early, worst, written := 0, time.Duration(0), 0
	for i := range rounds {
		step := []struct{ baud, size int }{{1200, 6}, {9600, 24}, {38400, 90}, {115200, 200}}[i%4]
		p.orders(t, fmt.Sprint("baud ", step.baud), fmt.Sprint("fill ", step.size))
		drained := p.drains(t)
		written += step.size
		eventually(t, "the bytes have left the far UART", func() bool { return v.count() == written && v.waiting() == 0 })
		if ahead := clock(v.end()) - drained; ahead > 0 {
			early++
			worst = max(worst, ahead)
		}
	}
	if early > 0 {
		t.Errorf("tcdrain returned before the last stop bit in %d of %d rounds, by up to %v", early, rounds, worst)
	}
}
