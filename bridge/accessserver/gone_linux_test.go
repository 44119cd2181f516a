package accessserver_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// becomes dials until it has the device, as a bridge does, and returns how long that took.
func (f *far) becomes(t *testing.T) (c *rfc2217.Client, took time.Duration) {
	t.Helper()
	began := time.Now()
	for time.Since(began) < testenv.Patience {
		conn := f.dial()
		c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
		if err == nil {
			return c, time.Since(began)
		}
		_ = conn.Close()
		time.Sleep(time.Second) // as a bridge redials
	}
	t.Fatalf("a client has not got the device in %v", testenv.Patience)
	return nil, 0
}

// outq returns how many bytes of a connection the peer's TCP has not acknowledged.
func outq(t *testing.T, conn net.Conn) (n int) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	outer := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	if outer != nil || err != nil {
		t.Fatal(outer, err)
	}
	return n
}

// mute is a UART that receives nothing, not even through its loopback plug.
type mute struct{ uart.Device }

func (d mute) Next() ([]byte, uart.Event, error) {
	for {
		if _, e, err := d.Device.Next(); err != nil {
			return nil, e, err
		}
	}
}

// A client that sends 60 KiB to a line at 300 baud and leaves does not keep the next one waiting for half an hour, although its FIN
// is not seen: it is in the client's kernel, after bytes for which there is no room here.
func TestGoneAfterManyBytes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		hold    uart.Event // what it sets
		answers int
	}{{"slow line", slow, 4}, {"held line", holding, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := listen(t)
			f := (&far{t: t, dial: dialTCP(t, l)}).start(l, func(ctx context.Context) (uart.Device, error) {
				d, err := new(simulate.Loopback).Open(ctx)
				return mute{d}, err
			})
			gone := &caller{Conn: f.dial(), t: t}
			gone.say(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
			gone.hears(rfc2217.NotifyModemState, 0)
			gone.say(rfc2217.AppendSettings(nil, tt.hold))
			for range tt.answers {
				_, _, _ = gone.next() // if they stayed unread, close would send a reset
			}
			gone.say(make([]byte, 60<<10))
			_ = gone.Close()
			next, took := f.becomes(t)
			defer next.Close()
			t.Logf("the next client has the device after %v", took)
			if took > inTime {
				t.Errorf("the next client has the device after %v, want 15 s at most", took)
			}
			f.awaitLog("another client waits", "dropped=")
			// A client that is certainly gone gets nudgedPatience; one that may still be there, othersPatience.
			from, until := f.when("client gone"), f.when("another client waits")
			if waited := until.Sub(from); waited > 6*time.Second {
				t.Errorf("the last bytes had another %v, want 4 s", waited)
			}
		})
	}
}

// when returns the time of the first log line with these words.
func (f *far) when(words string) time.Time {
	f.t.Helper()
	for line := range strings.Lines(f.logged()) {
		stamp, said, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		if strings.Contains(said, words) {
			at, err := time.Parse("2006-01-02T15:04:05.000Z07:00", stamp) // slog's
			if err != nil {
				f.t.Fatal(err)
			}
			return at
		}
	}
	f.t.Fatalf("not in the log: %s", words)
	return time.Time{}
}

// gated is a UART that accepts nothing before its gate is open.
type gated struct {
	mute
	gate, closed chan struct{}
	once         *sync.Once
}

func (d gated) Write(p []byte) (int, error) {
	select {
	case <-d.gate:
		return d.Device.Write(p)
	case <-d.closed:
		return 0, uart.ErrClosed
	}
}

func (d gated) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Device.Close()
}

// The bytes of a client that closed in order are sent although they are in the client's kernel and the line is blocked for a while,
// if nobody else wants the device.
func TestHeldLineCostsNoBytes(t *testing.T) {
	t.Parallel()
	l := listen(t)
	f := &far{t: t, dial: dialTCP(t, l)}
	simulated, gate := new(simulate.Loopback), make(chan struct{})
	simulated.Observe(f.observe)
	f.start(l, func(ctx context.Context) (uart.Device, error) {
		d, err := simulated.Open(ctx)
		return gated{mute{d}, gate, make(chan struct{}), new(sync.Once)}, err
	})
	c := &caller{Conn: f.dial(), t: t}
	c.say(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
	c.hears(rfc2217.NotifyModemState, 0)
	slower := uart.Coding{Baud: 230400, DataBits: 8, Parity: uart.ParityNone, StopBits: uart.Stop1} // for which TCP buffers little
	c.say(rfc2217.AppendSettings(nil, uart.Event{Coding: slower}))
	for range 4 {
		_, _, _ = c.next() // if they stayed unread, close would send a reset
	}
	const size = 60 << 10
	c.say(bytes.Repeat([]byte("c"), size))
	_ = c.Close()
	time.Sleep(12 * time.Second) // the time under test
	close(gate)
	f.awaitLog("client left", "up=61440")
	if got := len(f.sent()); got != size {
		t.Errorf("%d of %d bytes were sent", got, size)
	}
}

// A client that sends its bytes one by one until the system accepts no more is alive: neither the check of the client nor another
// client from its address may end its session, although Linux has no room for its answers (tcp.Socket).
func TestFullOfSmallSegments(t *testing.T) {
	t.Parallel()
	f := overTCP(t)
	c := f.call()
	c.say(rfc2217.AppendSettings(nil, holding))
	f.does("settings break on")
	for outq(t, c.Conn) < 2000 {
		c.say([]byte("x"))
		time.Sleep(500 * time.Microsecond) // else they would be one segment
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) { // the time under test
		conn := f.dial()
		if other, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{}); err == nil {
			_ = other.Close()
			t.Fatal("another client has the device")
		}
		_ = conn.Close()
	}
	for _, end := range []string{"client disconnected", "client lost", "client gone"} {
		if strings.Contains(f.logged(), end) {
			t.Errorf("a living client: %s", end)
		}
	}
}

// Little is buffered for a blocked line, because a purge cannot drop it, and it is lost with the session.
func TestHeldLineTakesLittle(t *testing.T) {
	f := overTCP(t)
	c := f.call()
	c.say(rfc2217.AppendSettings(nil, holding))
	f.does("settings break on")
	_ = c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	n, _ := c.Write(make([]byte, 512<<10))
	waits := outq(t, c.Conn)
	for same := time.Now(); time.Since(same) < time.Second; time.Sleep(10 * time.Millisecond) {
		if now := outq(t, c.Conn); now != waits {
			waits, same = now, time.Now()
		}
	}
	if taken := n - waits; taken > 24<<10 { // 3 KiB in the device, 4 KiB in the session, the receive buffer, and its rounding
		t.Errorf("a blocked line has taken %d bytes of %d, want little", taken, n)
	}
}

// talker is a UART that receives bytes all the time.
type talker struct {
	uart.Device
	closed chan struct{}
	once   sync.Once
}

func (d *talker) Next() ([]byte, uart.Event, error) {
	select {
	case <-time.After(10 * time.Millisecond): // the speed of the line
		return bytes.Repeat([]byte("t"), 4096), uart.Event{}, nil
	case <-d.closed:
		return nil, uart.Event{}, uart.ErrClosed
	}
}

func (d *talker) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Device.Close()
}

func talking(ctx context.Context) (uart.Device, error) {
	d, err := new(simulate.Loopback).Open(ctx)
	if err != nil {
		return nil, err
	}
	return &talker{Device: d, closed: make(chan struct{})}, nil
}

// readAway reads and drops what comes, until the function that it returns closes the connection.
func readAway(conn net.Conn) (end func()) {
	over := make(chan struct{})
	go func() { // ends with the connection
		defer close(over)
		_, _ = io.Copy(io.Discard, conn)
	}()
	return func() {
		_ = conn.Close()
		<-over
	}
}

// A client that vanished loses the device within 15 s although the device sends to it, and although its TCP window was closed when
// it vanished.
func TestVanished(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		closed bool // its window
	}{
		{"window open", false},
		{"window closed", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := listen(t)
			f := (&far{t: t, dial: dialTCP(t, l)}).start(l, talking)
			conn := f.dial()
			c := &caller{Conn: conn, t: t}
			c.say(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
			f.awaitLog("client connected")
			if tt.closed {
				time.Sleep(2 * time.Second) // the buffers fill
				deafen(t, conn)
			} else {
				defer readAway(conn)()
				time.Sleep(500 * time.Millisecond) // some is read
				deafen(t, conn)
			}
			began := time.Now()
			f.awaitLog("client lost: unresponsive")
			if took := time.Since(began); took > inTime {
				t.Errorf("given up after %v, want 15 s at most", took)
			}
			next, took := f.becomes(t)
			_ = next.Close()
			if took > inTime {
				t.Errorf("the device was free after another %v", took)
			}
		})
	}
}

// A watcher that vanished while the device sends does not keep its place for a quarter of an hour.
func TestWatcherVanished(t *testing.T) {
	t.Parallel()
	l := listen(t)
	f := &far{t: t, dial: dialTCP(t, l)}
	f.startWith(l, accessserver.Config{Open: talking, Watchers: 1})
	owner := f.connect(rfc2217.Config{})
	defer owner.end()
	conn := f.dial()
	_, _ = conn.Write(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
	f.awaitLog("watcher connected")
	defer readAway(conn)()
	deafen(t, conn)
	began := time.Now()
	f.awaitLog("watcher left")
	if took := time.Since(began); took > inTime {
		t.Errorf("given up after %v, want 15 s at most", took)
	}
}

// A client that is alive but does not read keeps the device, however long its TCP window is closed.
func TestWindowClosedAndAlive(t *testing.T) {
	t.Parallel()
	l := listen(t)
	f := (&far{t: t, dial: dialTCP(t, l)}).start(l, talking)
	c := &caller{Conn: f.dial(), t: t}
	c.say(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
	f.awaitLog("client connected")
	time.Sleep(15 * time.Second) // the time under test
	got := 0
	for got < 1<<20 {
		_ = c.SetReadDeadline(time.Now().Add(testenv.Patience))
		n, err := c.Read(c.buf[:])
		if got += n; err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
	}
	_ = c.Close()
}
