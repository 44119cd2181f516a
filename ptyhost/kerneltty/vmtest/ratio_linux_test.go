package vmtest

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost"
	"telnetcpc/ptyhost/kerneltty"
)

// The kernel tty beside a pty in the same machine. Its round trip is one through the whole USB stack; its throughput is
// what the driver's transfers allow, of 256 to 512 bytes each and one or two under way. Both are far above any UART.
// Measured: round trip 2.95, up 0.08, down 0.09. The bounds leave room for a machine that is busy.
const (
	mostRoundTrip   = 4
	leastThroughput = 0.05
)

// speed is how fast a port is.
type speed struct {
	roundTrip time.Duration // the median, of one byte
	up, down  float64       // bytes a second
}

// checkRatios: the kernel tty is not slower than it must be, measured at a pty: time alone means nothing here.
func checkRatios(t *testing.T) {
	kernel, pty := measure(t, kerneltty.New()), measure(t, ptyhost.New())
	roundTrip := float64(kernel.roundTrip) / float64(pty.roundTrip)
	up, down := kernel.up/pty.up, kernel.down/pty.down
	t.Logf("kernel tty: %+v; pty: %+v", kernel, pty)
	t.Logf("kernel tty to pty: round trip %.2f, up %.2f, down %.2f", roundTrip, up, down)
	if roundTrip > mostRoundTrip {
		t.Errorf("round trip: got %.2f times a pty's, want %d at most", roundTrip, mostRoundTrip)
	}
	if up < leastThroughput || down < leastThroughput {
		t.Errorf("throughput: got %.2f and %.2f of a pty's, want %.2f at least", up, down, leastThroughput)
	}
}

// bulk is how many bytes pass each way for a throughput.
const bulk = 1 << 20

// noise is n bytes of all values, without a short period.
func noise(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * i >> 7)
	}
	return p
}

func measure(t *testing.T, h uart.Host) (s speed) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ttyV0")
	p, err := h.Open(context.Background(), uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var echoes atomic.Bool // else the bytes are counted
	echoes.Store(true)
	taken := make(chan struct{})
	go func() {
		for n := 0; ; {
			b, e, err := p.Next()
			switch {
			case err != nil:
				return
			case e.Ready != nil:
				e.Ready(nil)
			case len(b) == 0:
			case echoes.Load():
				_, _ = p.Write(b)
			default:
				if n += len(b); n == bulk {
					close(taken)
				}
			}
		}
	}()
	program, err := uarttest.OpenTTY(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	over := time.AfterFunc(patience, func() { _ = p.Close() })
	defer over.Stop()
	s.roundTrip = roundTrip(t, program)

	echoes.Store(false)
	began := time.Now()
	if _, err := program.Write(noise(bulk)); err != nil {
		t.Fatal(err)
	}
	<-taken
	s.up = bulk / time.Since(began).Seconds()

	began = time.Now()
	go func() { _, _ = p.Write(noise(bulk)) }()
	if _, err := io.ReadFull(program, make([]byte, bulk)); err != nil {
		t.Fatal(err)
	}
	s.down = bulk / time.Since(began).Seconds()
	return s
}

// roundTrip is the median time of a byte to an echo and back.
func roundTrip(t *testing.T, program io.ReadWriter) time.Duration {
	t.Helper()
	var all []time.Duration
	b := make([]byte, 1)
	for range 400 {
		began := time.Now()
		if _, err := program.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(program, b); err != nil {
			t.Fatal(err)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
