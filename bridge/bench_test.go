package bridge_test

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"testing"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// source returns the same bytes n times once begin is closed, and then blocks until stop.
type source struct {
	p     []byte
	n     int
	asked func() // called by the first next
	begin chan struct{}
	gone  chan struct{} // closed when the last bytes were taken
	end   chan struct{}
	stop  func()
}

func newSource(p []byte, n int, asked func()) *source {
	s := &source{p: p, n: n, asked: sync.OnceFunc(asked), begin: make(chan struct{}), gone: make(chan struct{}), end: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.end) })
	return s
}

func (s *source) next() ([]byte, uart.Event, error) {
	s.asked()
	select {
	case <-s.begin:
	case <-s.end:
		return nil, uart.Event{}, io.EOF
	}
	if s.n > 0 {
		s.n--
		return s.p, uart.Event{}, nil
	}
	close(s.gone)
	<-s.end
	return nil, uart.Event{}, io.EOF
}

// nullPort is the fake port with a source as its application, which discards everything it is given.
type nullPort struct {
	*uarttest.Port
	up *source
}

func (p *nullPort) Next() ([]byte, uart.Event, error) { return p.up.next() }
func (p *nullPort) Write(b []byte) (int, error)       { return len(b), nil }
func (p *nullPort) Close() error                      { p.up.stop(); return p.Port.Close() }

// nullSession is a session, and the remote it comes from, with a source as its device, which discards everything it is
// given. It represents a network that costs nothing.
type nullSession struct {
	uart.Session // nil: the methods that a bridge calls are below
	down         *source
}

func (s *nullSession) Next() ([]byte, uart.Event, error) { return s.down.next() }
func (s *nullSession) Write(p []byte) (int, error)       { return len(p), nil }
func (s *nullSession) Apply(uart.Event) error            { return nil }
func (s *nullSession) Mark() bool                        { return false }
func (s *nullSession) Unacked() int                      { return 0 }
func (s *nullSession) Alive() uart.Peer                  { return uart.Peer{} }
func (s *nullSession) Fidelity() uart.Fidelity           { return uart.FullFidelity }
func (s *nullSession) CloseWrite() error                 { s.down.stop(); return nil }
func (s *nullSession) Close() error                      { s.down.stop(); return nil }
func (s *nullSession) String() string                    { return "null" }

func (s *nullSession) Dial(context.Context, uart.LineState) (uart.Session, error) { return s, nil }

// carry makes a bridge carry p n times, up or down, and returns how many allocations that took. It calls begin before
// the first piece and end after the last.
func carry(t testing.TB, way bridge.Direction, p []byte, n int, begin, end func()) uint64 {
	t.Helper()
	isUp := make(chan struct{})
	up, down := newSource(p, n, func() {}), newSource(p, n, func() { close(isUp) })
	b := bridge.New(bridge.Config{
		Name: "null", Remote: &nullSession{down: down}, Policy: bridge.Policy{Connect: bridge.ConnectAlways},
		Log: slog.New(slog.DiscardHandler),
		Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
			return &nullPort{uarttest.NewPort(c), up}, nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	<-isUp
	measured := up
	if way == bridge.Down {
		measured = down
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin()
	close(measured.begin)
	<-measured.gone
	end()
	runtime.ReadMemStats(&after)
	down.stop() // else the close would wait for the line time of all bytes
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	return after.Mallocs - before.Mallocs
}

// TestCarriesWithoutAllocation: the data path allocates nothing in either direction; the margin is for work that does
// not depend on bytes.
func TestCarriesWithoutAllocation(t *testing.T) {
	const n = 10000
	for _, way := range []bridge.Direction{bridge.Up, bridge.Down} {
		if got := carry(t, way, make([]byte, 64), n, func() {}, func() {}); got > n/10 {
			t.Errorf("%s: %d allocations for %d pieces, want none per piece", way, got, n)
		}
	}
}

func BenchmarkCarry(b *testing.B) {
	for _, way := range []bridge.Direction{bridge.Up, bridge.Down} {
		b.Run(string(way), func(b *testing.B) {
			b.SetBytes(4096)
			b.ReportAllocs()
			carry(b, way, make([]byte, 4096), b.N, b.ResetTimer, b.StopTimer)
		})
	}
}
