package interop

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// holdFor is the default of --hold-for.
const holdFor = time.Second

// outage makes a session and cuts it while nothing is in flight. The agent has noticed the loss when it returns.
func outage(t *testing.T, flags ...string) (*far, *agent, *line) {
	t.Helper()
	f := startFar(t, record)
	a := attach(t, f.url(), flags...)
	app := openPort(t, a)
	app.set(t, termios{baud: 9600, stop: 1})
	if err := app.send([]byte("before")); err != nil {
		t.Fatal(err)
	}
	v := f.next()
	eventually(t, "the session is up", func() bool { return v.got() == "before" && v.waiting() == 0 })
	f.down()
	lossNoticed(t, a.out)
	return f, a, app
}

// lossNoticed waits until the log has the loss of a session.
func lossNoticed(t *testing.T, out *testenv.Output) {
	t.Helper()
	eventually(t, "the loss is noticed", func() bool { return lossPattern.MatchString(out.String()) })
}

var droppedPattern = regexp.MustCompile(`\bdropped=(\d+)`)

// checkDropped closes the program's port, and then checks how many bytes the log counts as dropped. It waits for the log
// line of the close, because no byte waits for the log.
func checkDropped(t *testing.T, out *testenv.Output, app *line, want int) {
	t.Helper()
	closed := func() int { return strings.Count(out.String(), `msg="port closed"`) }
	before := closed()
	_ = app.Close()
	eventually(t, "the log has the close of the port", func() bool { return closed() > before })
	got := 0
	for _, m := range droppedPattern.FindAllStringSubmatch(out.String(), -1) {
		n, _ := strconv.Atoi(m[1])
		got += n
	}
	if got != want {
		t.Errorf("the log counts %d dropped bytes, want %d", got, want)
	}
}

// poller is a program that polls its device ten times a second, with 8 bytes, whether it replies or not.
type poller struct {
	stop, ended chan struct{}

	mu  sync.Mutex  // guards the fields below
	at  []time.Time // when each poll was written
	err error
}

const pollSize = 8

func pollText(i int) string { return fmt.Sprintf("poll%03d\n", i) }

func startPoller(app *line) *poller {
	p := &poller{stop: make(chan struct{}), ended: make(chan struct{})}
	go func() { // ends with finish
		defer close(p.ended)
		tick := time.NewTicker(100 * time.Millisecond) // the program's speed
		defer tick.Stop()
		for i := 0; ; i++ {
			at := time.Now()
			err := app.send([]byte(pollText(i)))
			p.mu.Lock()
			p.at, p.err = append(p.at, at), err
			p.mu.Unlock()
			select {
			case <-p.stop:
				return
			case <-tick.C:
			}
		}
	}()
	return p
}

func (p *poller) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.at)
}

// finish ends the program, and returns all that it wrote and when.
func (p *poller) finish(t *testing.T) (all string, at []time.Time) {
	t.Helper()
	close(p.stop)
	<-p.ended
	if p.err != nil {
		t.Fatal(p.err)
	}
	for i := range p.at {
		all += pollText(i)
	}
	return all, p.at
}

// Of the bytes that a program writes without a session, the device gets those written within --hold-for before the
// newest one: of a stream of polls the last second, and not polls that the program has given up. Dropped bytes are
// counted.
func TestHoldDropsOldPolls(t *testing.T) {
	t.Parallel()
	f, a, app := outage(t)
	p := startPoller(app)
	eventually(t, "the program has polled for seconds", func() bool { return p.count() >= 40 })
	f.up()
	v := f.next()
	eventually(t, "a poll arrives", func() bool { return v.count() >= pollSize })
	all, at := p.finish(t)
	eventually(t, "the last poll arrives", func() bool { return strings.HasSuffix(v.got(), all[len(all)-pollSize:]) })
	got := v.got()
	if !strings.HasSuffix(all, got) {
		t.Fatalf("%d bytes arrived, and are not the last of the %d that were written: %q", len(got), len(all), got)
	}
	missing := len(all) - len(got)
	late := 0
	for i := missing / pollSize; i < len(at) && at[i].Before(v.since); i++ {
		late++
	}
	t.Logf("%d polls were written, %d arrived, %d of them from before the session", len(at), len(got)/pollSize, late)
	// The agent may read some late on a busy machine, and so consider them younger.
	if most := int(holdFor/(100*time.Millisecond)) + 5; late > most || late < 1 {
		t.Errorf("%d polls from before the session arrived, want 1 to %d", late, most)
	}
	checkDropped(t, a.out, app, missing)
}

// --hold-for forever keeps all bytes, however old.
func TestHoldForever(t *testing.T) {
	t.Parallel()
	f, a, app := outage(t, "--hold-for", "forever")
	p := startPoller(app)
	eventually(t, "the program has polled for seconds", func() bool { return p.count() >= 25 })
	f.up()
	v := f.next()
	eventually(t, "a poll arrives", func() bool { return v.count() >= pollSize })
	all, _ := p.finish(t)
	eventually(t, "the last poll arrives", func() bool { return strings.HasSuffix(v.got(), all[len(all)-pollSize:]) })
	if got := v.got(); got != all {
		t.Errorf("%d bytes arrived, want all of the %d that were written", len(got), len(all))
	}
	checkDropped(t, a.out, app, 0)
}

// The command of a program that has closed its port in the outage does not reach the device when the server is back.
func TestHoldDropsClosed(t *testing.T) {
	t.Parallel()
	f, a, app := outage(t)
	const command = "OPEN VALVE\n"
	if err := app.send([]byte(command)); err != nil {
		t.Fatal(err)
	}
	_ = app.Close()
	<-time.After(3 * holdFor) // how long the server is away
	f.up()
	next := openPort(t, a)
	if err := next.send([]byte("next\n")); err != nil {
		t.Fatal(err)
	}
	v := f.next()
	eventually(t, "what the next program writes arrives", func() bool { return strings.HasSuffix(v.got(), "next\n") })
	if got := v.got(); got != "next\n" {
		t.Errorf("the device got %q, want only what the second program wrote", got)
	}
	checkDropped(t, a.out, next, len(command))
}

// A stream that is blocked in an outage arrives whole, however long that lasts, because no newer bytes follow it.
func TestHoldKeepsStream(t *testing.T) {
	t.Parallel()
	f, a, app := outage(t)
	app.set(t, termios{baud: 921600, stop: 1}) // so that the line is not the limit
	want := noise('h', 200_000)
	sent := make(chan error, 1)
	go func() { sent <- app.send(want) }()
	select {
	case err := <-sent:
		t.Fatalf("a write of %d bytes ended without a session: %v", len(want), err)
	case <-time.After(3 * holdFor): // how long the server is away
	}
	f.up()
	v := f.next()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream arrives", func() bool { return v.count() >= len(want) })
	if got := []byte(v.got()); !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived, and are not the %d that were written", len(got), len(want))
	}
	checkDropped(t, a.out, app, 0)
}

// Settings keep their position between held bytes: each byte goes out with the line coding that it was written with.
func TestHoldKeepsCodings(t *testing.T) {
	t.Parallel()
	f, a, app := outage(t, "--hold-for", "30s") // on a busy machine the two writes may be more than a second apart
	first, second := []byte("written at 9600\n"), []byte("written at 19200\n")
	if err := app.send(first); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // the program's speed; a pty does not show the order of bytes and settings that come at one moment
	app.set(t, termios{baud: 19200, stop: 1})
	soon(t, "the change is detected", func() bool { return strings.Contains(a.out.String(), `coding="19200 8N1"`) })
	if err := app.send(second); err != nil {
		t.Fatal(err)
	}
	f.up()
	v := f.next()
	eventually(t, "everything has left the far UART", func() bool {
		return v.count() >= len(first)+len(second) && v.waiting() == 0
	})
	if err := leftAt(v.stretches(), stretch{9600, first}, stretch{19200, second}); err != nil {
		t.Error(err)
	}
}

// soon is eventually for conditions that become true quickly or never.
func soon(t *testing.T, what string, cond func() bool) {
	t.Helper()
	const limit = 15 * time.Second
	if !within(limit, cond) {
		t.Fatalf("not within %v: %s", limit, what)
	}
}

// within waits for a condition for at most d, and reports whether it is true.
func within(d time.Duration, cond func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); !cond(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// tcdrain returns in an outage, as at a UART whose cable is cut.
func TestDrainEndsInOutage(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	p := startRun(t, f.url(), "-v")
	p.orders(t, "open", "baud 9600", "write before")
	v := f.next()
	eventually(t, "the session is up", func() bool { return v.got() == "before" })
	f.down()
	lossNoticed(t, p.out)
	p.orders(t, "write in the outage")
	ended := make(chan time.Duration, 1)
	failed := make(chan string, 1)
	p.do(t, "drain")
	go func() { // ends with the reply or with the program
		if reply, err := p.lines.ReadString('\n'); err != nil {
			failed <- err.Error()
		} else if ns, err := strconv.ParseInt(strings.TrimSpace(reply), 10, 64); err != nil {
			failed <- reply
		} else {
			ended <- time.Duration(ns)
		}
	}()
	select {
	case <-ended:
	case why := <-failed:
		t.Errorf("tcdrain: %s", why)
	case <-time.After(20 * holdFor):
		t.Error("tcdrain does not end while the server is away")
		f.up() // so that the program ends
	}
}

// reset is the handler of a server whose service is missing: it accepts and resets.
func reset(_ *far, c *net.TCPConn) { _ = c.SetLinger(0) }

// A program writes and closes while the server is away: its bytes are dropped, the agent stops dialling, and when the
// server is up it gets neither the bytes nor an unwanted session.
func TestEchoWithoutServer(t *testing.T) {
	t.Parallel()
	f := startFar(t, reset)
	a := attach(t, f.url())
	start(t, exec.Command("sh", "-c", `echo x > "$0"`, a.path)).wait(t)
	eventually(t, "the agent dials", func() bool { return f.accepted.Load() > 0 })
	const quiet = 4 * time.Second // the pauses between dials are shorter
	dials, since := f.accepted.Load(), time.Now()
	ended := within(25*time.Second, func() bool {
		if n := f.accepted.Load(); n != dials {
			dials, since = n, time.Now()
		}
		return time.Since(since) > quiet
	})
	if !ended {
		t.Errorf("%d dials, and they still go on 25s after the program closed the port", dials)
	}
	if dials > 20 {
		t.Errorf("%d dials for one byte that was dropped", dials)
	}
	f.down()
	f.serve = record
	f.accepted.Store(0)
	f.up()
	if ended {
		select {
		case v := <-f.visits:
			t.Errorf("the server got an unwanted session, and %q", v.got())
		case <-time.After(quiet):
		}
	}
	app := openPort(t, a)
	if err := app.send([]byte("y\n")); err != nil {
		t.Fatal(err)
	}
	v := f.next()
	eventually(t, "what the next program writes arrives", func() bool { return strings.HasSuffix(v.got(), "y\n") })
	if got := v.got(); got != "y\n" {
		t.Errorf("the device got %q, want only what the second program wrote", got)
	}
	checkDropped(t, a.out, app, len("x\n"))
	if n := f.accepted.Load(); n != 1 {
		t.Errorf("sessions: got %d, want 1", n)
	}
}
