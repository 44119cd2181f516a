package interop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// atMost is how long the end may take whatever the peer does, plus 5 s for a busy machine. It is the property under test.
const atMost = 20*time.Second + 5*time.Second

// trouble is an agent, or a run, that must end during a fault.
type trouble struct {
	*process
	path   string
	status int
	begin  func() // makes it end
	lost   int    // bytes of the application that are certainly lost
	began  time.Time
	took   chan time.Duration // how long the end took
}

// launch is attach for an agent that the test ends itself.
func launch(t *testing.T, url string, flags ...string) *trouble {
	t.Helper()
	program, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	x := &trouble{path: filepath.Join(t.TempDir(), "ttyV0")}
	x.process = start(t, exec.Command(program, slices.Concat([]string{"attach", "--host", "pty"}, flags, []string{x.path, url})...))
	x.begin = func() { x.signal(t, syscall.SIGTERM) }
	eventually(t, "the port exists", func() bool {
		if x.ended() {
			t.Fatalf("telnetcpc ended: %v\n%s", x.err, lastOf(x.out))
		}
		_, err := os.Stat(x.path)
		return err == nil
	})
	return x
}

// open opens the port and writes.
func (x *trouble) open(t *testing.T, p []byte) *line {
	t.Helper()
	app := openLine(t, x.path)
	if err := app.send(p); err != nil {
		t.Fatal(err)
	}
	return app
}

// lose opens the port and writes bytes that will be lost.
func (x *trouble) lose(t *testing.T, n int) {
	t.Helper()
	x.open(t, noise('l', n))
	x.lost = n
}

// fills writes until write blocks, and returns how many bytes were written.
func (l *line) fills(t *testing.T) (n int) {
	t.Helper()
	for p := noise('b', 64<<10); ; {
		_ = l.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		m, err := l.Write(p)
		n += m
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// fault is a state of affairs in which an agent must be able to end.
type fault struct {
	name  string
	begin func(t *testing.T) *trouble
}

// faults are the faults for an agent.
var faults = []fault{
	{"peer half-closed", func(t *testing.T) *trouble {
		full := make(chan struct{})
		f := startFar(t, func(f *far, c *net.TCPConn) {
			_, _ = c.Write([]byte(agrees))
			select {
			case <-full:
				_ = c.CloseWrite() // and never reads
			case <-f.over:
			}
			<-f.over
		})
		x := launch(t, f.url())
		x.lost = x.open(t, nil).fills(t)
		close(full)
		eventually(t, "the agent sees the end of the session", func() bool { return lossPattern.MatchString(x.out.String()) })
		return x
	}},
	{"peer reads nothing", func(t *testing.T) *trouble {
		x := launch(t, startFar(t, silent(agrees)).url())
		x.lost = x.open(t, nil).fills(t)
		return x
	}},
	{"peer floods and reads no answer", func(t *testing.T) *trouble {
		f := startFar(t, func(f *far, c *net.TCPConn) {
			_, _ = c.Write([]byte(speaks))
			flood := []byte(strings.Repeat(asks, 1000))
			for {
				if _, err := c.Write(flood); err != nil {
					return
				}
			}
		})
		x := launch(t, f.url())
		x.lost = x.open(t, nil).fills(t)
		return x
	}},
	{"peer never answers marks", func(t *testing.T) *trouble {
		got := make(chan struct{}, 1)
		f := startFar(t, func(f *far, c *net.TCPConn) {
			_, _ = c.Write([]byte(speaks))
			for all, buf := 0, make([]byte, 4096); ; {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if all += n; all >= 3000 {
					select {
					case got <- struct{}{}:
					default:
					}
				}
			}
		})
		x := launch(t, f.url(), "--baud", "115200")
		x.open(t, noise('m', 3000))
		<-got
		return x
	}},
	{"server process stopped", func(t *testing.T) *trouble {
		s := startOwn(t, "loopback")
		x := launch(t, s.url())
		app := x.open(t, []byte("x"))
		if err := app.expect([]byte("x")); err != nil {
			t.Fatal(err)
		}
		s.signal(t, syscall.SIGSTOP)
		x.lost = app.fills(t)
		return x
	}},
	{"dial to a silent server", func(t *testing.T) *trouble {
		f := startFar(t, silent(""))
		x := launch(t, f.url())
		x.lose(t, 100)
		eventually(t, "the agent dials", func() bool { return f.accepted.Load() > 0 })
		return x
	}},
	{"dial that is not accepted", func(t *testing.T) *trouble {
		port := fullBacklog(t)
		x := launch(t, fmt.Sprintf("rfc2217://127.0.0.1:%d", port))
		x.lose(t, 100)
		eventually(t, "the agent dials", func() bool { return syns(t, port) > 0 })
		return x
	}},
	{"back-off", func(t *testing.T) *trouble {
		x := launch(t, newFar(t, record).url())
		x.lose(t, 100)
		eventually(t, "a dial has failed", func() bool { return strings.Contains(x.out.String(), "connection refused") })
		return x
	}},
	{"application blocked in write without a session", func(t *testing.T) *trouble {
		x := launch(t, newFar(t, record).url())
		x.lost = x.open(t, nil).fills(t)
		return x
	}},
	{"application that never reads", func(t *testing.T) *trouble {
		full := make(chan struct{})
		f := startFar(t, func(f *far, c *net.TCPConn) {
			_, _ = c.Write([]byte(agrees))
			pushes(c, full)
		})
		x := launch(t, f.url())
		x.open(t, noise('r', 100))
		<-full
		return x
	}},
	{"peer reads no answer", func(t *testing.T) *trouble { return fullConnection(t, false) }},
	{"peer reads no answer and half-closes", func(t *testing.T) *trouble { return fullConnection(t, true) }},
}

// runFaults are the faults for a run.
var runFaults = []fault{
	{"peer reads nothing", func(t *testing.T) *trouble { return ranProgram(t, startFar(t, silent(speaks)), "fill 3000", 3000) }},
	{"program blocked in write", func(t *testing.T) *trouble {
		f := startFar(t, silent(speaks))
		p := startRun(t, f.url())
		p.orders(t, "open")
		p.do(t, "fill 16000000")
		const more = 32 << 10 // more than the opening leaves queued
		eventually(t, "the program's bytes are in flight", func() bool { return queued(t, f.port) > more })
		settled(t, func() int { return queued(t, f.port) })
		p.signal(t, syscall.SIGTERM) // run passes it to the program
		eventually(t, "run prints what it waits for", func() bool {
			if p.ended() {
				t.Fatalf("run has ended: %v; %d bytes are queued", p.err, queued(t, f.port))
			}
			return strings.Contains(p.out.String(), "(Ctrl-C ends it)")
		})
		return &trouble{
			process: p.process, path: p.path, status: 128 + int(syscall.SIGTERM), lost: queued(t, f.port),
			begin: func() { p.signal(t, syscall.SIGTERM) },
		}
	}},
	{"back-off", func(t *testing.T) *trouble { return ranProgram(t, newFar(t, record), "fill 5", 5) }},
}

// SIGTERM ends the agent within 20 s in every fault: with status 0, without the port's path, and with warnings that
// count what was lost.
func TestEndInEveryFault(t *testing.T) {
	t.Parallel()
	end(t, faults)
}

// A run ends within 20 s of its program's end, or of the signal that ends its wait for the last bytes: with the program's
// status, and with warnings that count what was lost.
func TestRunEndsInEveryFault(t *testing.T) {
	t.Parallel()
	end(t, runFaults)
}

func end(t *testing.T, faults []fault) {
	t.Helper()
	all := make([]*trouble, len(faults))
	for i, fault := range faults {
		began := time.Now()
		all[i] = fault.begin(t)
		t.Logf("%s: reached after %v", fault.name, time.Since(began).Round(10*time.Millisecond))
	}
	for _, x := range all { // all at once, because each may take long
		x.began, x.took = time.Now(), make(chan time.Duration, 1)
		x.begin()
		go func() { // ends with the program, which the test kills
			<-x.done
			x.took <- time.Since(x.began)
		}()
	}
	for i, x := range all {
		t.Run(faults[i].name, x.ends)
	}
}

// warned returns how many bytes the warnings count: lost at most with sessions, and dropped without one.
func (x *trouble) warned() (n int) {
	for line := range strings.Lines(x.out.String()) {
		if m := warnedPattern.FindStringSubmatch(line); m != nil {
			k, _ := strconv.Atoi(m[1])
			n += k
		}
	}
	return n
}

var warnedPattern = regexp.MustCompile(`level=WARN .*\b(?:lost_at_most|dropped)=(\d+)`)

func (x *trouble) ends(t *testing.T) {
	defer func() {
		if t.Failed() {
			t.Logf("its output:\n%s", lastOf(x.out))
		}
	}()
	if !within(time.Until(x.began.Add(atMost)), func() bool { return len(x.took) > 0 }) {
		_ = x.cmd.Process.Signal(syscall.SIGQUIT) // prints its goroutines
		<-x.done
		t.Errorf("it has not ended after %v", atMost)
		return
	}
	t.Logf("it ended after %v", (<-x.took).Round(10*time.Millisecond))
	if got := x.cmd.ProcessState.ExitCode(); got != x.status {
		t.Errorf("status: got %d (%v), want %d", got, x.err, x.status)
	}
	if _, err := os.Lstat(x.path); err == nil {
		t.Error("the port's path is still there")
	}
	if strings.Contains(x.out.String(), "DATA RACE") {
		t.Error("it has a data race")
	}
	if warned := x.warned(); warned < x.lost {
		t.Errorf("%d bytes are lost, the warnings count at most %d", x.lost, warned)
	} else if x.lost > 0 {
		t.Logf("%d bytes are lost, the warnings count at most %d", x.lost, warned)
	}
}

// ranProgram starts a run whose program carries out an order; begin ends the program with status 7.
func ranProgram(t *testing.T, f *far, order string, lost int) *trouble {
	t.Helper()
	p := startRun(t, f.url())
	p.orders(t, "open", order)
	return &trouble{process: p.process, path: p.path, status: 7, lost: lost, begin: func() { p.do(t, "end 7") }}
}
