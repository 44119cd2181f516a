package stormtest

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/tcp"
)

// weather is the network between agent and access server: a relay on loopback. So bytes that were acknowledged to the agent's
// TCP may still be lost, as when a server is killed.
type weather struct {
	shelf  shelf
	at     string // the relay's address, which the agent dials
	server string // the access server's address
	ends   context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	listen net.Listener
	pairs  map[*pair]bool
	held   chan struct{} // if not nil: nothing passes until it is closed
	over   bool          // close was called
}

// pair is a connection of the agent, and the relay's own to the access server.
type pair struct{ near, far *net.TCPConn }

// newWeather starts the access server and the relay. close ends them.
func newWeather(t *testing.T, seed uint64) *weather {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &weather{ends: cancel, pairs: map[*pair]bool{}}
	w.shelf.random = rand.New(rand.NewPCG(seed, 7))
	l, err := tcp.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	w.server = l.Addr().String()
	server := accessserver.New(accessserver.Config{Open: w.shelf.open, Log: slog.New(slog.DiscardHandler)})
	w.all.Go(func() { _ = server.Serve(ctx, l) })
	w.at = "127.0.0.1:0"
	if err := w.up(); err != nil {
		cancel()
		t.Fatal(err)
	}
	return w
}

// up makes the relay listen, unless it does.
func (w *weather) up() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.listen != nil {
		return nil
	}
	l, err := tcp.Listen(context.Background(), w.at)
	if err != nil {
		return err
	}
	w.listen, w.at = l, l.Addr().String()
	w.all.Go(func() { // until the listener is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.all.Go(func() { w.relay(conn.(*net.TCPConn)) })
		}
	})
	return nil
}

// down closes the listener.
func (w *weather) down() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listen != nil {
		_ = w.listen.Close()
		w.listen = nil
	}
}

// relay relays one connection, until both directions have ended.
func (w *weather) relay(near *net.TCPConn) {
	defer near.Close()
	conn, err := net.Dial("tcp", w.server)
	if err != nil {
		return
	}
	far := conn.(*net.TCPConn)
	defer far.Close()
	p := &pair{near, far}
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return
	}
	w.pairs[p] = true
	w.mu.Unlock()
	var ways sync.WaitGroup
	ways.Go(func() { w.pass(far, near) })
	ways.Go(func() { w.pass(near, far) })
	ways.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pairs, p)
}

// pass copies one direction. An end of file and a reset pass on.
func (w *weather) pass(to, from *net.TCPConn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		held := w.held
		w.mu.Unlock()
		if held != nil {
			<-held
		}
		if _, bad := to.Write(buf[:n]); bad != nil {
			_ = from.Close()
			return
		}
		if err == io.EOF {
			_ = to.CloseWrite()
			return
		}
		if err != nil {
			_ = to.SetLinger(0)
			_ = to.Close()
			return
		}
	}
}

// hold stops all bytes; free lets them pass again.
func (w *weather) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil && !w.over {
		w.held = make(chan struct{})
	}
}

func (w *weather) free() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held != nil {
		close(w.held)
		w.held = nil
	}
}

// each calls f with all connections.
func (w *weather) each(f func(*pair)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range w.pairs {
		f(p)
	}
}

func reset(p *pair) {
	for _, c := range []*net.TCPConn{p.near, p.far} {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// blow disturbs the network until the context ends, and then restores it. It never keeps the remote away for long, because a
// call that waits for it must return in time.
func (w *weather) blow(ctx context.Context, r *rand.Rand) {
	defer w.fine()
	nap := func(ms int) {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(10+r.IntN(ms)) * time.Millisecond):
		}
	}
	for ctx.Err() == nil {
		nap(1000)
		switch r.IntN(7) {
		case 0:
			w.each(reset)
		case 1:
			w.each(func(p *pair) { _ = p.near.CloseWrite() })
			nap(300)
			w.each(reset)
		case 2:
			w.hold()
			nap(1000)
			w.free()
		case 3, 5:
			w.down()
			w.each(reset)
			nap([]int{50, 100, 300, 1000, 1000, 5000}[r.IntN(6)])
			_ = w.up() // if it fails, fine tries again
		case 4:
			w.each(func(p *pair) { _ = p.far.CloseWrite() })
		default:
			w.hold()
			nap(300)
			w.each(reset)
			w.free()
		}
	}
}

// fine makes the remote reachable again.
func (w *weather) fine() {
	w.free()
	for range 1000 { // a port in TIME_WAIT can be bound again; not the local port of another connection
		if w.up() == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// close ends everything.
func (w *weather) close() {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.free()
	w.down()
	w.ends()
	w.each(reset)
	w.all.Wait()
}
