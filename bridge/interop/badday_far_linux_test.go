package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// far is an access server in the test's own process. It can be stopped and started at any moment, knows when each byte
// has left its UART, and can misbehave as no real server would. Its address stays the same.
type far struct {
	t      *testing.T
	port   int
	serve  handler
	narrow bool // the receive window is as small as the system allows

	accepted atomic.Int64
	visits   chan *visit   // sessions that record has begun
	over     chan struct{} // closed by down

	mu       sync.Mutex // guards the fields below
	listener net.Listener
	conns    map[*net.TCPConn]bool
	handlers sync.WaitGroup
}

// handler serves a client of a far. The connection is closed when it returns, or when the far goes down.
type handler func(f *far, c *net.TCPConn)

// newFar returns a far that does not listen before up.
func newFar(t *testing.T, serve handler) *far {
	t.Helper()
	f := &far{t: t, port: farPort(t), serve: serve, visits: make(chan *visit, 64), conns: map[*net.TCPConn]bool{}}
	t.Cleanup(f.down)
	return f
}

// startFar returns a far that listens.
func startFar(t *testing.T, serve handler) *far {
	t.Helper()
	f := newFar(t, serve)
	for again := 0; ; again++ {
		err := f.listen()
		if err == nil {
			return f
		}
		if again == 10 {
			t.Fatal(err)
		}
		f.port = farPort(t) // another program took it
	}
}

// farPorts are the ports that a far of this process has or had.
var farPorts sync.Map

// farPort finds a free TCP port that no other test takes while the far is down.
func farPort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.IntN(10000) // freePort uses higher ones
		if _, taken := farPorts.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no TCP port is free between 10000 and 20000")
	return 0
}

func (f *far) url() string { return fmt.Sprintf("rfc2217://127.0.0.1:%d", f.port) }

// up starts to listen.
func (f *far) up() {
	f.t.Helper()
	if err := f.listen(); err != nil {
		f.t.Fatal(err)
	}
}

// listen is up for an address that another program may have. The goroutine that accepts ends with down.
func (f *far) listen() error {
	var how net.ListenConfig
	if f.narrow {
		how.Control = func(_, _ string, c syscall.RawConn) error {
			var inner error
			err := c.Control(func(fd uintptr) {
				inner = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
			})
			return errors.Join(err, inner)
		}
	}
	l, err := how.Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", f.port))
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listener, f.over = l, make(chan struct{})
	f.handlers.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.accepted.Add(1)
			f.admit(l, c.(*net.TCPConn))
		}
	})
	return nil
}

// admit starts the handler of a client, unless its listener is closed.
func (f *far) admit(l net.Listener, c *net.TCPConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener != l {
		_ = c.Close()
		return
	}
	f.conns[c] = true
	f.handlers.Go(func() {
		f.serve(f, c)
		_ = c.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.conns, c)
	})
}

// down stops listening and cuts every session, as when a server dies.
func (f *far) down() {
	f.mu.Lock()
	if f.listener != nil {
		_ = f.listener.Close()
		f.listener = nil
		close(f.over)
	}
	for c := range f.conns {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.handlers.Wait()
}

// visit is a session with a far whose handler is record.
type visit struct {
	*distant
	since time.Time     // when the client was accepted
	ended chan struct{} // closed when the session has ended
	err   error         // how it ended; io.EOF: in order. Valid after ended
	left  int           // bytes that had not left the line by then; valid after ended
}

// next waits for the next session.
func (f *far) next() *visit {
	f.t.Helper()
	select {
	case v := <-f.visits:
		return v
	case <-time.After(testenv.Patience):
		f.t.Fatalf("no session in %v", testenv.Patience)
		return nil
	}
}

// record is the handler of a good access server with a large buffer: it reads bytes from TCP as they arrive, and applies
// settings when they arrive.
func record(f *far, c *net.TCPConn) {
	v := &visit{distant: newDistant(), since: time.Now(), ended: make(chan struct{})}
	client, err := rfc2217.Accept(context.Background(), c, rfc2217.ServerConfig{})
	if err != nil {
		return
	}
	if err := client.Modem(uart.CTS | uart.DSR | uart.DCD); err != nil {
		return
	}
	select {
	case f.visits <- v:
	default:
		f.t.Error("more sessions than any test makes")
		return
	}
	for {
		p, e, err := client.Next()
		if err != nil {
			v.err, v.left = err, v.waiting()
			close(v.ended)
			return
		}
		if len(p) > 0 {
			v.write(p)
			continue
		}
		if err := client.Answer(v.apply(e)); err != nil && !errors.Is(err, net.ErrClosed) {
			f.t.Errorf("answer to a setting: %v", err)
		}
	}
}

// endsInOrder waits for the end of a session, which must be FIN.
func (v *visit) endsInOrder(t *testing.T) {
	t.Helper()
	select {
	case <-v.ended:
	case <-time.After(testenv.Patience):
		t.Fatal("the session does not end")
	}
	if !errors.Is(v.err, io.EOF) {
		t.Errorf("the session ended with %v, want FIN", v.err)
	}
}

// stretch is a run of bytes that left a UART at one baud rate.
type stretch struct {
	baud uint32
	data []byte
}

// distant is a UART in real time without a goroutine: what has left is computed when it is needed. Its buffer has no
// limit. As in a real UART, a setting takes effect at once: bytes that have not left go out with the new one.
type distant struct {
	mu      sync.Mutex // guards the fields below
	inForce uart.Event
	held    []byte    // not sent yet
	began   time.Time // when the first of held began to leave, or the last stop bit ended
	sent    []stretch
	total   int      // bytes sent and held
	bauds   []uint32 // all baud rates that were set, in order
	under   int      // bytes that had not left when DTR or RTS fell last
	breaks  []place  // where breaks began, in order
}

// place is a position in the stream: how many bytes had arrived, and how many of them had not left.
type place struct{ came, waiting int }

func newDistant() *distant {
	return &distant{inForce: uart.Event{
		Coding: uart.DefaultCoding(), Flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone},
		Control: uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff, Break: uart.LevelOff},
	}}
}

// settle moves what has left by now from held to sent. The caller holds mu.
func (d *distant) settle() {
	const many = 1 << 20 // the time of one byte, in whole nanoseconds, would be too coarse
	one := float64(d.inForce.Coding.LineTime(many)) / many
	n := min(len(d.held), int(float64(time.Since(d.began))/one))
	if n <= 0 {
		return
	}
	d.began = d.began.Add(d.inForce.Coding.LineTime(n))
	if last := len(d.sent) - 1; last < 0 || d.sent[last].baud != d.inForce.Coding.Baud {
		d.sent = append(d.sent, stretch{baud: d.inForce.Coding.Baud})
	}
	last := &d.sent[len(d.sent)-1]
	last.data = append(last.data, d.held[:n]...)
	d.held = d.held[n:]
}

func (d *distant) write(p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	if now := time.Now(); len(d.held) == 0 && d.began.Before(now) {
		d.began = now
	}
	d.held = append(d.held, p...)
	d.total += len(p)
}

// apply applies e and returns all settings in force.
func (d *distant) apply(e uart.Event) uart.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	if e.Coding.Baud != 0 {
		d.bauds = append(d.bauds, e.Coding.Baud)
	}
	if e.Control.DTR == uart.LevelOff || e.Control.RTS == uart.LevelOff {
		d.under = len(d.held)
	}
	if e.Control.Break == uart.LevelOn {
		d.breaks = append(d.breaks, place{d.total, len(d.held)})
	}
	d.inForce.Coding = e.Coding.Over(d.inForce.Coding)
	d.inForce.Flow = e.Flow.Over(d.inForce.Flow)
	d.inForce.Control = e.Control.Over(d.inForce.Control)
	return d.inForce
}

// state returns all settings in force.
func (d *distant) state() uart.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inForce
}

// waiting returns how many bytes have not left.
func (d *distant) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	return len(d.held)
}

// fallen returns how many bytes had not left when DTR or RTS fell last.
func (d *distant) fallen() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.under
}

// end returns when the last stop bit leaves or left.
func (d *distant) end() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.began.Add(d.inForce.Coding.LineTime(len(d.held)))
}

// broke returns where the breaks began.
func (d *distant) broke() []place {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]place(nil), d.breaks...)
}

// got returns everything that arrived, whether or not it has left.
func (d *distant) got() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []byte
	for _, s := range d.sent {
		all = append(all, s.data...)
	}
	return string(append(all, d.held...))
}

// count returns how many bytes arrived.
func (d *distant) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total
}

// stretches returns what has left, by baud rate.
func (d *distant) stretches() []stretch {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	return append([]stretch(nil), d.sent...)
}

// asked returns how often a baud rate was set.
func (d *distant) asked(baud uint32) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.bauds {
		if b == baud {
			n++
		}
	}
	return n
}
