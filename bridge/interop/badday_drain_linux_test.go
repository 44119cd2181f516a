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

// runWorks is why telnetcpc run does not work on this machine.
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

// needRun asks for a machine on which telnetcpc run works.
func needRun(t *testing.T) {
	t.Helper()
	if err := runWorks(); err != nil {
		why := fmt.Sprintf("telnetcpc run does not work here: %v", err)
		testenv.Skip(t, why)
	}
}

// ran is a telnetcpc run with testdata/badday.c as its program.
type ran struct {
	*puppet
	path string // of its port
}

// runs starts one.
func runs(t *testing.T, url string, flags ...string) *ran {
	t.Helper()
	needRun(t)
	program := compile(t, "badday")
	telnetcpc, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ttyV0")
	cmd := exec.Command(telnetcpc, slices.Concat([]string{"run", "--port", path}, flags, []string{url, "--", program, path})...)
	cmd.WaitDelay = time.Second // of one that is killed the program holds the ends of the pipes
	p := &ran{play(t, cmd), path}
	t.Cleanup(func() { // before start's own, which kills
		_ = p.tell.(io.Closer).Close() // the program ends, and so does run
		select {
		case <-p.done:
		case <-time.After(testenv.Patience):
			t.Error("telnetcpc run does not end behind its program")
		}
		if strings.Contains(p.out.String(), "WARNING: DATA RACE") {
			t.Error("telnetcpc run has a data race")
		}
	})
	return p
}

// told gives the orders, one after the other, each to be done.
func (p *ran) told(t *testing.T, orders ...string) {
	t.Helper()
	for _, order := range orders {
		p.do(t, order)
		p.says(t, "done")
	}
}

// drains is when the program's tcdrain returned, on CLOCK_MONOTONIC.
func (p *ran) drains(t *testing.T) time.Duration {
	t.Helper()
	p.do(t, "drain")
	said, err := p.said.ReadString('\n')
	if err != nil {
		t.Fatalf("drain: %v\n%s", err, lastOf(p.out))
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(said), 10, 64)
	if err != nil {
		t.Fatalf("the program says %q, want a time", said)
	}
	return time.Duration(ns)
}

// monotonic returns what tells the time on CLOCK_MONOTONIC, which all processes share, of a time of Go's.
func monotonic(t *testing.T) func(time.Time) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	base := time.Now() // not before ts: what is told is never too late
	return func(at time.Time) time.Duration { return time.Duration(ts.Nano()) + at.Sub(base) }
}

// relay stands before a far as ssh -L does: it acknowledges at once what the client sends, and passes it on, in order, up
// to so much later.
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

func jittery(to, from net.Conn, most time.Duration) {
	type piece struct {
		p   []byte
		due time.Time
	}
	way := make(chan piece, 1024)
	go func() { // ends with the connection
		defer close(way)
		for {
			p := make([]byte, 4096)
			n, err := from.Read(p)
			if n > 0 {
				way <- piece{p[:n], time.Now().Add(rand.N(most))}
			}
			if err != nil {
				return
			}
		}
	}()
	for next := range way {
		time.Sleep(time.Until(next.due)) // the way's length
		if _, err := to.Write(next.p); err != nil {
			_ = from.Close() // the reader ends, and so does this loop
		}
	}
	_ = to.(*net.TCPConn).CloseWrite()
}

// tcdrain never returns before the far UART has sent the last stop bit, also behind a relay that acknowledges at once and
// delivers later: two times of one clock, one of the program, one of the UART.
func TestDrainThroughRelay(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	p := runs(t, relay(t, f, 20*time.Millisecond))
	p.told(t, "open")
	v := f.next()
	clock := monotonic(t)
	const rounds = 52
	early, worst, written := 0, time.Duration(0), 0
	for i := range rounds {
		way := []struct{ baud, size int }{{1200, 6}, {9600, 24}, {38400, 90}, {115200, 200}}[i%4]
		p.told(t, fmt.Sprint("baud ", way.baud), fmt.Sprint("fill ", way.size))
		drained := p.drains(t)
		written += way.size
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
