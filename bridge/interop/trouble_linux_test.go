package interop

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// noticed is when the loss of a peer that sent neither FIN nor reset must have been noticed: within 15 s, plus 15 s for
// a busy machine. It is the property under test, measured on the monotonic clock.
const noticed = 30 * time.Second

// losesSession waits until the agent has logged a loss, and checks the time since began.
func losesSession(t *testing.T, a *agent, began time.Time, within time.Duration) loss {
	t.Helper()
	eventually(t, "the agent has noticed the loss", func() bool { return len(a.losses(t)) > 0 })
	took := time.Since(began)
	t.Logf("noticed after %v", took.Round(10*time.Millisecond))
	if took > within {
		t.Errorf("the loss was noticed after %v, want %v at most", took, within)
	}
	return a.losses(t)[0]
}

// collector reads a device at 4 MB/s at most.
type collector struct {
	n    atomic.Int64 // bytes until now
	got  []byte       // all of them; valid after done
	done chan error
}

// collect starts to read until the bytes end with last.
func (d *device) collect(last []byte) *collector {
	c := &collector{done: make(chan error, 1)}
	go func() {
		buf := make([]byte, 4096)
		for !bytes.HasSuffix(c.got, last) {
			_ = d.SetReadDeadline(time.Now().Add(2 * testenv.Patience))
			n, err := d.Read(buf)
			c.got = append(c.got, buf[:n]...)
			c.n.Add(int64(n))
			if err != nil {
				c.done <- fmt.Errorf("after %d bytes: %w", len(c.got), err)
				return
			}
			time.Sleep(time.Millisecond) // the device's speed
		}
		c.done <- nil
	}()
	return c
}

// tail is how many bytes are written after a loss is known, so that they go out in the next session.
const tail = 64

// restArrives writes the tail of p after the rest of it, and checks that all of p has arrived except one piece, no
// longer than the agent has logged.
func (c *collector) restArrives(t *testing.T, app *line, p []byte, sent <-chan error, logged loss) {
	t.Helper()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := app.send(p[len(p)-tail:]); err != nil {
		t.Fatal(err)
	}
	if err := <-c.done; err != nil {
		t.Fatal(err)
	}
	lost, err := gap(c.got, p)
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("lost: %d bytes; the agent logged: %+v", lost, logged); logged.atMost < lost {
		t.Errorf("lost_at_most: got %d, want at least the %d bytes that were lost", logged.atMost, lost)
	}
}

// probesOften reports whether this kernel can be set to probe a closed window often. Others double the interval each time.
func probesOften() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, 3000) == nil
}

// All packets are dropped: neither FIN nor reset arrives.
func TestDeadPeer(t *testing.T) {
	t.Parallel()
	t.Run("data in flight", func(t *testing.T) {
		t.Parallel()
		n := newNetwork(t)
		d := newDevice(t)
		a := n.attach(ser2netIn(t, n, d, "telnet(rfc2217),tcp", "kickolduser: true").url())
		app := openSession(t, a, d)
		p := noise('f', 16<<20)
		c := d.collect(p[len(p)-tail:])
		sent := make(chan error, 1)
		go func() { sent <- app.send(p[:len(p)-tail]) }()
		eventually(t, "bytes are on their way", func() bool { return c.n.Load() > 100_000 })
		began := time.Now()
		n.drop()
		logged := losesSession(t, a, began, noticed)
		n.heal()
		c.restArrives(t, app, p, sent, logged)
	})
	t.Run("the window closed", func(t *testing.T) {
		t.Parallel()
		n := newNetwork(t)
		d := newDevice(t)
		s := ser2netIn(t, n, d, "telnet(rfc2217),tcp")
		a := n.attach(s.url())
		app := openSession(t, a, d)
		s.signal(t, syscall.SIGSTOP)
		p := noise('w', 8<<20)
		c := d.collect(p[len(p)-tail:])
		sent := make(chan error, 1)
		go func() { sent <- app.send(p[:len(p)-tail]) }()
		eventually(t, "TCP probes the window", func() bool { return strings.Contains(n.timers(), "timer:(persist") })
		within := noticed
		if !probesOften() {
			within = testenv.Patience
		}
		began := time.Now()
		n.drop()
		logged := losesSession(t, a, began, within)
		s.kill()
		n.heal()
		s.start()
		c.restArrives(t, app, p, sent, logged)
	})
	t.Run("nothing in flight", func(t *testing.T) {
		t.Parallel()
		n := newNetwork(t)
		d := newDevice(t)
		a := n.attach(ser2netIn(t, n, d, "telnet(rfc2217),tcp", "kickolduser: true").url())
		app := openSession(t, a, d)
		began := time.Now()
		n.drop()
		losesSession(t, a, began, noticed)
		n.heal()
		exchange(t, app, d.line, []byte("the next session"))
	})
}

// A cable that is unplugged for 5 s costs neither the session nor a byte.
func TestCableIsOut(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	d := newDevice(t)
	s := ser2netIn(t, n, d, "telnet(rfc2217),tcp")
	a := n.attach(s.url())
	app := openSession(t, a, d)
	session := s.sessions()
	up, down := noise('u', 2<<20), noise('d', 2<<20)
	sent := make(chan error, 2)
	go func() { sent <- app.send(up) }()
	go func() { sent <- d.send(down) }()
	if err := d.expect(up[:100_000]); err != nil {
		t.Fatal(err)
	}
	n.plug(false)
	time.Sleep(5 * time.Second) // the time under test
	n.plug(true)
	both(t,
		func() error { return d.expect(up[100_000:]) },
		func() error { return app.expect(down) },
		func() error { return <-sent },
		func() error { return <-sent })
	if got := s.sessions(); len(got) != 1 || len(session) != 1 || got[0] != session[0] {
		t.Errorf("sessions after the pause: got %v, want the one before it, %v", got, session)
	}
	if got := a.losses(t); len(got) != 0 {
		t.Errorf("losses in the log: %+v, want none", got)
	}
}

// A network that loses 5 % of the packets in each direction, with a distant server: the device needs 7E1, the
// application sets 8N1, and each line comes back with the line coding at which it arrived.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	s := startOwn(t, "reporter")
	l := n.listen()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			far, err := net.Dial("tcp", net.JoinHostPort(s.host(), strconv.Itoa(s.port)))
			if err != nil {
				fmt.Println("dial the access server:", err)
				_ = c.Close()
				continue
			}
			go delayed(c, far, 150*time.Millisecond) // round trip 300 ms
		}
	}()
	n.lose(5)
	a := n.attach("rfc2217://"+l.Addr().String(), "--line", "7E1")
	app := openPort(t, a)
	app.set(t, termios{baud: 57600, stop: 1})
	eventually(t, "the agent knows the baud rate", func() bool { return strings.Contains(a.out.String(), "57600 7E1") })
	const lines = 500
	var asked, want strings.Builder
	for i := range lines {
		fmt.Fprintf(&asked, "what is sensor %03d?\r\n", i)
		fmt.Fprintf(&want, "what is sensor %03d? 57600 7E1\r\n", i)
	}
	sent := make(chan error, 1)
	go func() { sent <- app.send([]byte(asked.String())) }()
	if err := app.expect([]byte(want.String())); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if got := a.losses(t); len(got) != 0 {
		t.Errorf("losses in the log: %+v, want none", got)
	}
}
