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

	"telnetcpc/bridge/uart/uarttest"
)

// holdFor is hold_for's default.
const holdFor = time.Second

// outage is a session that stood and was cut, which the agent has noticed. Nothing was under way.
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
	eventually(t, "the session stands", func() bool { return v.got() == "before" && v.waiting() == 0 })
	f.down()
	lossNoticed(t, a.out)
	return f, a, app
}

// lossNoticed waits until the end of a session has been said.
func lossNoticed(t *testing.T, out *uarttest.Output) {
	t.Helper()
	eventually(t, "the loss is noticed", func() bool { return lossPattern.MatchString(out.String()) })
}

var droppedPattern = regexp.MustCompile(`\bdropped=(\d+)`)

// saysDropped closes the program's port, and looks at how many bytes of it the log then says were dropped: a log is written
// by nobody that a byte waits for.
func saysDropped(t *testing.T, out *uarttest.Output, app *line, want int) {
	t.Helper()
	closed := func() int { return strings.Count(out.String(), `msg="port closed"`) }
	before := closed()
	_ = app.Close()
	eventually(t, "the agent says that the port is closed", func() bool { return closed() > before })
	got := 0
	for _, m := range droppedPattern.FindAllStringSubmatch(out.String(), -1) {
		n, _ := strconv.Atoi(m[1])
		got += n
	}
	if got != want {
		t.Errorf("the log says that %d bytes were dropped, want %d", got, want)
	}
}

// poller is a program that asks its device 8 bytes ten times a second, answered or not.
type poller struct {
	stop, ended chan struct{}

	mu  sync.Mutex  // over what follows
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

// finish ends the program, and returns all that it wrote, and when.
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

// Of what a program wrote while there was no session, the device gets what was written within hold_for before the newest
// byte: of a stream of polls the last second, and not those that nobody waits for any more. What is dropped is counted.
func TestHoldDropsOldPolls(t *testing.T) {
	t.Parallel()
	f, a, app := outage(t)
	p := startPoller(app)
	eventually(t, "the program has asked for seconds", func() bool { return p.count() >= 40 })
	f.up()
	v := f.next()
	eventually(t, "a poll arrives", func() bool { return v.count() >= pollSize })
	all, at := p.finish(t)
	eventually(t, "the last poll arrives", func() bool { return strings.HasSuffix(v.got(), all[len(all)-pollSize:]) })
	got := v.got()
	if !strings.HasSuffix(all, got) {
		t.Fatalf("%d bytes came, and are not the last of the %d that were written: %q", len(got), len(all), got)
	}
	missing := len(all) - len(got)
	late := 0
	for i := missing / pollSize; i < len(at) && at[i].Before(v.since); i++ {
		late++
	}
	t.Logf("%d polls were written, %d came, %d of them from before the session", len(at), len(got)/pollSize, late)
	// A busy machine may read some late, and so take them for younger.
	if most := int(holdFor/(100*time.Millisecond)) + 5; late > most || late < 1 {
		t.Errorf("%d polls from before the session came, want 1 to %d", late, most)
	}
	saysDropped(t, a.out, app, missing)
}

// --hold-for forever keeps what was written, however old.
func TestHoldForever(t *testing.T) {
	t.Parallel()
	f, a, app := outage(t, "--hold-for", "forever")
	p := startPoller(app)
	eventually(t, "the program has asked for seconds", func() bool { return p.count() >= 25 })
	f.up()
	v := f.next()
	eventually(t, "a poll arrives", func() bool { return v.count() >= pollSize })
	all, _ := p.finish(t)
	eventually(t, "the last poll arrives", func() bool { return strings.HasSuffix(v.got(), all[len(all)-pollSize:]) })
	if got := v.got(); got != all {
		t.Errorf("%d bytes came, want all of the %d that were written", len(got), len(all))
	}
	saysDropped(t, a.out, app, 0)
}

// A program that wrote a command and gave up is not obeyed when the server is back at last.
func TestHoldDropsClosed(t *testing.T) {
	t.Parallel()
	f, a, app := outage(t)
	const command = "OPEN VALVE\n"
	if err := app.send([]byte(command)); err != nil {
		t.Fatal(err)
	}
	_ = app.Close()
	<-time.After(3 * holdFor) // so long the server is away
	f.up()
	next := openPort(t, a)
	if err := next.send([]byte("next\n")); err != nil {
		t.Fatal(err)
	}
	v := f.next()
	eventually(t, "what the next program writes arrives", func() bool { return strings.HasSuffix(v.got(), "next\n") })
	if got := v.got(); got != "next\n" {
		t.Errorf("the device got %q, want what the second program wrote alone", got)
	}
	saysDropped(t, a.out, next, len(command))
}

// A stream that stands blocked in an outage arrives whole, however long that is: nothing newer has come.
func TestHoldKeepsStream(t *testing.T) {
	t.Parallel()
	f, a, app := outage(t)
	app.set(t, termios{baud: 921600, stop: 1}) // the line is not what it waits for
	want := noise('h', 200_000)
	sent := make(chan error, 1)
	go func() { sent <- app.send(want) }()
	select {
	case err := <-sent:
		t.Fatalf("a write of %d bytes ended without a session: %v", len(want), err)
	case <-time.After(3 * holdFor): // so long the server is away
	}
	f.up()
	v := f.next()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream arrives", func() bool { return v.count() >= len(want) })
	if got := []byte(v.got()); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, and are not the %d that were written", len(got), len(want))
	}
	saysDropped(t, a.out, app, 0)
}

// Settings keep their places among held bytes: each byte goes out at the coding at which it was written.
func TestHoldKeepsCodings(t *testing.T) {
	t.Parallel()
	f, a, app := outage(t, "--hold-for", "30s") // two lines of a test may take longer than a second
	first, second := []byte("written at 9600\n"), []byte("written at 19200\n")
	if err := app.send(first); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // the program's speed: a pty knows the order of what does not come at one moment
	app.set(t, termios{baud: 19200, stop: 1})
	soon(t, "the change is seen", func() bool { return strings.Contains(a.out.String(), `coding="19200 8N1"`) })
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

// soon is eventually for what comes at once or never.
func soon(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !within(15*time.Second, cond) {
		t.Fatalf("it has not come to be: %s", what)
	}
}

// within reports whether a condition becomes true in a time.
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

// tcdrain in an outage ends, as with a cut cable.
func TestDrainEndsInOutage(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	p := runs(t, f.url(), "-v")
	p.told(t, "open", "baud 9600", "write before")
	v := f.next()
	eventually(t, "the session stands", func() bool { return v.got() == "before" })
	f.down()
	lossNoticed(t, p.out)
	p.told(t, "write in the outage")
	ended := make(chan time.Duration, 1)
	failed := make(chan string, 1)
	p.do(t, "drain")
	go func() { // ends with the answer, or with the program
		if said, err := p.said.ReadString('\n'); err != nil {
			failed <- err.Error()
		} else if ns, err := strconv.ParseInt(strings.TrimSpace(said), 10, 64); err != nil {
			failed <- said
		} else {
			ended <- time.Duration(ns)
		}
	}()
	select {
	case <-ended:
	case said := <-failed:
		t.Errorf("tcdrain: %s", said)
	case <-time.After(20 * holdFor):
		t.Error("tcdrain does not end while the server is away")
		f.up() // so that the program ends
	}
}

// reset is a server whose service is not there: it accepts and resets.
func reset(_ *far, c *net.TCPConn) { _ = c.SetLinger(0) }

// A program that has written and gone while the server is away: its bytes are dropped, the dials end, and when the server
// comes up it gets neither the bytes nor a session that nobody wants.
func TestEchoWithoutServer(t *testing.T) {
	t.Parallel()
	f := startFar(t, reset)
	a := attach(t, f.url())
	start(t, exec.Command("sh", "-c", `echo x > "$0"`, a.path)).wait(t)
	eventually(t, "the agent dials", func() bool { return f.accepted.Load() > 0 })
	const quiet = 4 * time.Second // back-off's pauses are shorter
	dials, since := f.accepted.Load(), time.Now()
	ended := within(25*time.Second, func() bool {
		if n := f.accepted.Load(); n != dials {
			dials, since = n, time.Now()
		}
		return time.Since(since) > quiet
	})
	if !ended {
		t.Errorf("%d dials, and they go on 25s after the program has closed the port", dials)
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
			t.Errorf("the server got a session that nobody wants, and %q", v.got())
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
		t.Errorf("the device got %q, want what the second program wrote alone", got)
	}
	saysDropped(t, a.out, app, len("x\n"))
	if n := f.accepted.Load(); n != 1 {
		t.Errorf("sessions: got %d, want 1", n)
	}
}
