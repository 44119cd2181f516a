package accessserver_test

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// memory is a listener with connections in memory, in place of TCP on the loopback interface. It waits only in ways that
// testing/synctest knows.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	fail   chan error // what Accept returns instead of a connection
}

func newMemory() *memory {
	return &memory{conns: make(chan net.Conn), closed: make(chan struct{}), fail: make(chan error)}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case err := <-m.fail:
		return nil, err
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return name("memory:1") }

func (m *memory) dial() net.Conn {
	up, down := newLane(), newLane()
	m.conns <- &wire{in: up, out: down}
	return &wire{in: down, out: up}
}

type name string

func (n name) Network() string { return "memory" }
func (n name) String() string  { return string(n) }

// window is how many bytes a lane holds, like TCP's buffers.
const window = 64 << 10

// lane is one direction of a connection.
type lane struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	ended   bool // FIN
	broken  bool // closed by its reader

	readBy, writeBy deadline
}

func newLane() *lane {
	l := &lane{}
	l.changed.L = &l.mu
	return l
}

// deadline is a deadline that wakes the lane's condition.
type deadline struct {
	at    time.Time
	alarm *time.Timer
}

func (d *deadline) set(l *lane, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.alarm != nil {
		d.alarm.Stop()
	}
	if d.at = at; !at.IsZero() {
		d.alarm = time.AfterFunc(max(0, time.Until(at)), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.changed.Broadcast()
		})
	}
	l.changed.Broadcast()
}

func (d *deadline) over() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// wire is one end of a connection.
type wire struct{ in, out *lane }

func (w *wire) Read(p []byte) (int, error) {
	l := w.in
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.buf) == 0 {
		switch {
		case l.broken:
			return 0, net.ErrClosed
		case l.ended:
			return 0, io.EOF
		case l.readBy.over():
			return 0, os.ErrDeadlineExceeded
		}
		l.changed.Wait()
	}
	n := copy(p, l.buf)
	l.buf = append(l.buf[:0], l.buf[n:]...)
	l.changed.Broadcast()
	return n, nil
}

func (w *wire) Write(p []byte) (n int, err error) {
	l := w.out
	l.mu.Lock()
	defer l.mu.Unlock()
	for n < len(p) {
		switch {
		case l.ended:
			return n, net.ErrClosed
		case l.broken:
			return n, syscall.EPIPE
		case l.writeBy.over():
			return n, os.ErrDeadlineExceeded
		case len(l.buf) == window:
			l.changed.Wait()
		default:
			m := min(len(p)-n, window-len(l.buf))
			l.buf = append(l.buf, p[n:n+m]...)
			n += m
			l.changed.Broadcast()
		}
	}
	return n, nil
}

func (w *wire) CloseWrite() error {
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	w.out.ended = true
	w.out.changed.Broadcast()
	return nil
}

func (w *wire) Close() error {
	_ = w.CloseWrite()
	_ = w.SetDeadline(time.Time{})
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	w.in.broken = true
	w.in.changed.Broadcast()
	return nil
}

func (w *wire) SetReadDeadline(t time.Time) error  { w.in.readBy.set(w.in, t); return nil }
func (w *wire) SetWriteDeadline(t time.Time) error { w.out.writeBy.set(w.out, t); return nil }

func (w *wire) SetDeadline(t time.Time) error {
	_ = w.SetReadDeadline(t)
	return w.SetWriteDeadline(t)
}

func (w *wire) LocalAddr() net.Addr  { return name("memory:1") }
func (w *wire) RemoteAddr() net.Addr { return name("memory:2") }
