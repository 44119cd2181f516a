package bridge_test

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/uart"
)

// hostile makes listeners whose servers are of the worst kinds, each connection of another.
type hostile struct {
	t        *testing.T
	accepted atomic.Int64
	servers  sync.WaitGroup
}

// book is one listener, and what its servers received.
type book struct {
	at        string
	delivered atomic.Uint64
	ctx       context.Context // of its servers
	end       context.CancelFunc

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
}

func newHostile(t *testing.T) *hostile { return &hostile{t: t} }

func (h *hostile) open() *book {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	b := &book{at: l.Addr().String(), listener: l, conns: map[net.Conn]bool{}}
	b.ctx, b.end = context.WithCancel(context.Background())
	h.servers.Go(func() { h.accept(b, l) })
	return b
}

func (h *hostile) address(b *book) string { return "rfc2217://" + b.at }

// close ends a book's servers, and waits until they have counted everything.
func (h *hostile) close(b *book) {
	b.end()
	b.stop()
	for range 3000 {
		b.mu.Lock()
		n := len(b.conns)
		b.mu.Unlock()
		if n == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.t.Error("a server does not end")
}

// stop closes the listener.
func (b *book) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.listener.Close()
}

// settle waits until all servers have ended.
func (h *hostile) settle() { h.servers.Wait() }

// accept is a listener, also after a restart. It ends when its listener is closed for good.
func (h *hostile) accept(b *book, l net.Listener) {
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for {
		conn, err := l.Accept()
		if err != nil {
			if b.ctx.Err() != nil {
				return
			}
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
			again, err := net.Listen("tcp", b.at)
			if err != nil {
				continue // an old connection still has the address; Accept fails again
			}
			b.mu.Lock()
			l, b.listener = again, again
			b.mu.Unlock()
			if b.ctx.Err() != nil {
				_ = again.Close()
			}
			continue
		}
		h.accepted.Add(1)
		b.mu.Lock()
		b.conns[conn] = true
		b.mu.Unlock()
		r := rand.New(rand.NewPCG(random.Uint64(), 1))
		h.servers.Go(func() {
			b.serve(conn.(*net.TCPConn), r)
			b.mu.Lock()
			delete(b.conns, conn)
			b.mu.Unlock()
		})
	}
}

// serve is one connection of one kind. It ends by itself within seconds once its book is closed.
func (b *book) serve(conn *net.TCPConn, r *rand.Rand) {
	defer conn.Close()
	stop := context.AfterFunc(b.ctx, func() { _ = conn.SetDeadline(time.Now().Add(time.Second)) })
	defer stop()
	switch r.IntN(24) {
	case 0:
		return // at once
	case 1:
		_ = conn.SetLinger(0)
		return
	case 2:
		flood(conn, []byte("HTTP/1.0 400 Bad Request\r\n\r\n"))
		return
	case 3:
		flood(conn, []byte{255, 253, 6})
		return
	case 4:
		flood(conn, []byte{255, 253, 200, 255, 251, 201, 255, 254, 200, 255, 252, 201})
		return
	case 5:
		b.nap(r, 300) // silent
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	s, err := rfc2217.Accept(ctx, conn, rfc2217.ServerConfig{})
	if err != nil {
		return
	}
	defer s.Close()
	var ways sync.WaitGroup
	defer ways.Wait()
	other := rand.New(rand.NewPCG(r.Uint64(), 2))
	ways.Go(func() { b.device(s, conn, other) })
	b.reads(s, conn, r)
}

func flood(conn net.Conn, what []byte) {
	many := bytes.Repeat(what, 1000)
	_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	for {
		if _, err := conn.Write(many); err != nil {
			return
		}
	}
}

// nap sleeps, and wakes up when the book is closed.
func (b *book) nap(r *rand.Rand, ms int) {
	select {
	case <-time.After(time.Duration(r.IntN(ms)) * time.Millisecond):
	case <-b.ctx.Done():
	}
}

// device is what a server does besides reading: it floods, reports modem lines, ends its half, or does nothing.
func (b *book) device(s *rfc2217.Server, conn *net.TCPConn, r *rand.Rand) {
	for b.ctx.Err() == nil {
		b.nap(r, 300)
		var err error
		switch r.IntN(30) {
		case 0, 1, 2, 3:
			_, err = s.Write(make([]byte, r.IntN(100_000)))
		case 4, 5, 6:
			err = s.Modem(uart.ModemState(r.IntN(16) << 4))
		case 7:
			err = s.Line(uart.LineState(1 << r.IntN(7)))
		case 8:
			_, err = conn.Write([]byte{255, 250, 44, byte(rfc2217.FlowSuspend) + 100, 255, 240})
		case 9, 10:
			_, err = conn.Write([]byte{255, 250, 44, byte(rfc2217.FlowResume) + 100, 255, 240})
		case 11:
			_ = conn.CloseWrite()
			return
		case 12:
			_ = conn.SetLinger(0)
			_ = conn.Close()
			return
		case 13:
			_ = conn.Close()
			return
		case 14:
			b.stop() // it starts again
		}
		if err != nil {
			return
		}
	}
}

// reads is a server's reading: fast, slow, or none any more.
func (b *book) reads(s *rfc2217.Server, conn *net.TCPConn, r *rand.Rand) {
	slow, stop := r.IntN(3) == 0, math.MaxInt
	switch r.IntN(6) {
	case 0:
		stop = r.IntN(100_000)
	case 1:
		_ = conn.SetReadBuffer(4 << 10)
	}
	for got := 0; ; {
		p, e, err := s.Next()
		if err != nil {
			return
		}
		if e.Kind == uart.KindData {
			b.delivered.Add(uint64(len(p)))
			got += len(p)
		} else if err := s.Answer(e); err != nil {
			return
		}
		if slow {
			b.nap(r, 20)
		}
		if got > stop {
			b.nap(r, 10_000)
			if r.IntN(2) == 0 {
				_ = conn.SetLinger(0)
				return
			}
			stop = math.MaxInt
		}
	}
}
