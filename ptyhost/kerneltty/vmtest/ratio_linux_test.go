package vmtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost"
	"telnetcpc/ptyhost/kerneltty"
)

// The kernel tty compared with a pty on the same machine. Its round trip goes through the whole USB stack; its throughput is
// what the driver's transfers allow, of 256 to 512 bytes each and one or two in flight. Both are far above any UART.
// Time is counted in instructions, see boots. Measured, median and quartiles: round trip 1.97 [1.96 1.97], up 0.133
// [0.132 0.141], down 0.162 [0.149 0.180].
const (
	mostRoundTrip   = 2.5
	leastThroughput = 0.07
)

// rounds is how often both are measured, in turn, so that other work on the machine affects both.
const rounds = 11

// checkRatios: the kernel tty is not slower than it must be, compared with a pty, because absolute times mean nothing here.
func checkRatios(t *testing.T) {
	kernel, pty := newTrack(t, kerneltty.New()), newTrack(t, ptyhost.New())
	var roundTrips, ups, downs []float64
	for range rounds {
		k, p := kernel.measure(t), pty.measure(t)
		roundTrips = append(roundTrips, float64(k.roundTrip)/float64(p.roundTrip))
		ups = append(ups, k.up/p.up)
		downs = append(downs, k.down/p.down)
		t.Logf("kernel tty: %v; pty: %v", k, p)
	}
	roundTrip, up, down := quartiles(roundTrips), quartiles(ups), quartiles(downs)
	t.Logf("kernel tty to pty: round trip %.2f, up %.3f, down %.3f", roundTrip, up, down)
	if roundTrip[1] > mostRoundTrip {
		t.Errorf("round trip: got %.2f times a pty's, want %v at most", roundTrip[1], mostRoundTrip)
	}
	if up[1] < leastThroughput || down[1] < leastThroughput {
		t.Errorf("throughput: got %.3f and %.3f of a pty's, want %v at least", up[1], down[1], leastThroughput)
	}
}

// quartiles returns the lower quartile, the median and the upper quartile.
func quartiles(all []float64) [3]float64 {
	slices.Sort(all)
	n := len(all) - 1
	return [3]float64{all[n/4], all[n/2], all[n*3/4]}
}

// speed is a measurement of a port.
type speed struct {
	roundTrip time.Duration // the median, of one byte
	up, down  float64       // bytes a second
}

func (s speed) String() string {
	return fmt.Sprintf("round trip %v, up %.1f MB/s, down %.1f MB/s", s.roundTrip.Round(time.Microsecond), s.up/1e6, s.down/1e6)
}

// bulk is how many bytes pass each way for a measurement of throughput.
const bulk = 256 << 10

// track is a port to be measured, and an application at it.
type track struct {
	port   uart.Port
	say    io.Writer
	hear   *bufio.Reader
	echoes atomic.Bool // else the bytes are counted
	ups    chan float64
}

// newTrack makes a port that exists until the check ends. Its application is a process of its own, as applications are, so that
// one process's scheduler saves nothing.
func newTrack(t *testing.T, h uart.Host) *track {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ttyV0")
	p, err := h.Open(context.Background(), uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	k := &track{port: p, ups: make(chan float64, 1)}
	t.Cleanup(func() { _ = p.Close() })
	go k.far() // until the port is closed
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, applicationWord, path)
	cmd.Stderr = os.Stderr
	if k.say, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	k.hear = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := time.AfterFunc(testenv.Patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		over.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return k
}

// far is the far end of the port.
func (k *track) far() {
	var began time.Time
	for n := 0; ; {
		b, e, err := k.port.Next()
		switch {
		case err != nil:
			return
		case e.Ready != nil:
			e.Ready(nil)
		case len(b) == 0:
		case k.echoes.Load():
			_, _ = k.port.Write(b)
		default:
			if n == 0 {
				began = time.Now()
			}
			if n += len(b); n == bulk {
				n = 0
				k.ups <- bulk / time.Since(began).Seconds()
			}
		}
	}
}

// measure runs the application's measurements and returns them.
func (k *track) measure(t *testing.T) (s speed) {
	t.Helper()
	order := func(what string) (took time.Duration) {
		t.Helper()
		if _, err := fmt.Fprintln(k.say, what); err != nil {
			t.Fatal(err)
		}
		if what == "read" {
			go func() { _, _ = k.port.Write(noise(bulk)) }()
		}
		if _, err := fmt.Fscanln(k.hear, (*int64)(&took)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return took
	}
	k.echoes.Store(true)
	s.roundTrip = order("round trip")
	k.echoes.Store(false)
	order("write")
	s.up = <-k.ups
	s.down = bulk / order("read").Seconds()
	return s
}

// noise returns n bytes of all values, without a short period.
func noise(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * i >> 7)
	}
	return p
}

// applicationWord is the argument by which this binary is the application.
const applicationWord = "vmtest.application"

// beApplication is the application, if this process was started as one: one thread, and system calls that block. It reads
// commands, one a line, and prints the time that each took.
func beApplication() {
	if len(os.Args) != 3 || os.Args[1] != applicationWord {
		return
	}
	runtime.LockOSThread()
	fd, err := unix.Open(os.Args[2], unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var took int64
		switch orders.Text() {
		case "round trip":
			took = int64(roundTrip(fd))
		case "write":
			transfer(unix.Write, fd, noise(bulk))
		case "read":
			rest := make([]byte, bulk)
			n := must(unix.Read(fd, rest))
			began := time.Now()
			transfer(unix.Read, fd, rest[n:])
			took = int64(time.Since(began))
		}
		fmt.Println(took)
	}
	os.Exit(0)
}

func must(n int, err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return n
}

// transfer passes all of p.
func transfer(call func(int, []byte) (int, error), fd int, p []byte) {
	for len(p) > 0 {
		p = p[must(call(fd, p)):]
	}
}

// roundTrip returns the median time of a byte to an echo and back.
func roundTrip(fd int) time.Duration {
	var all []time.Duration
	b := make([]byte, 1)
	for range 200 {
		began := time.Now()
		must(unix.Write(fd, b))
		must(unix.Read(fd, b))
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
