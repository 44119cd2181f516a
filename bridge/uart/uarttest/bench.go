package uarttest

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// quiet is how long a call must make no progress to count as blocked. On a machine that is slower than that, a test
// only detects fewer errors.
const quiet = 50 * time.Millisecond

// bench is one port under test, with the programs that use it.
type bench struct {
	*testing.T
	host     uart.Host
	programs Programs

	path  string
	port  uart.Port
	lines bool // the test is about control lines

	openWait time.Duration // 0: testenv.Patience

	busy        atomic.Bool  // Unsent reports that the far UART is not empty
	away        atomic.Bool  // Unsent reports that there is no session and nothing should wait (Left < 0)
	unsentCalls atomic.Int64 // how often Unsent was called

	mu     sync.Mutex // guards the fields below
	urgent []uart.Event
	opened []Program // closed when the test ends
}

// result is one result of Next, with a copy of its bytes.
type result struct {
	data  []byte
	event uart.Event
}

// start opens the bench's port. It is closed when the test ends, or after testenv.Patience, so that every blocked call
// returns and the test fails instead of hanging.
func (b *bench) start() {
	b.Helper()
	b.startAt(b.programs.Path(b.T))
}

// startAt is start with a given path.
func (b *bench) startAt(path string) {
	b.Helper()
	b.path = path
	port, err := b.open()
	if err != nil {
		b.Fatalf("open a port: %v", err)
	}
	b.port = port
	timeout := time.AfterFunc(testenv.Patience, func() {
		_ = port.Close()
		if b.lasting() {
			b.closePrograms()
		}
	})
	b.Cleanup(func() {
		if !timeout.Stop() {
			b.Errorf("something did not happen within %v", testenv.Patience)
		}
		if err := port.Close(); err != nil {
			b.Errorf("close: %v", err)
		}
		// After the port: a program's close may wait for a drain, and so for Next, which is not called any more.
		b.closePrograms()
	})
}

// track records a program, to be closed when the test ends.
func (b *bench) track(p Program) Program {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened = append(b.opened, p)
	return p
}

func (b *bench) closePrograms() {
	b.mu.Lock()
	all := b.opened
	b.mu.Unlock()
	for _, p := range all {
		_ = p.Close()
	}
}

// open opens a port at the bench's path.
func (b *bench) open() (uart.Port, error) {
	wait := b.openWait
	if wait == 0 {
		wait = testenv.Patience
	}
	return b.host.Open(context.Background(), uart.PortConfig{
		Path: b.path, OpenWait: wait,
		Unsent: func() uart.Unsent {
			b.unsentCalls.Add(1)
			switch {
			case b.away.Load():
				return uart.Unsent{Left: -1}
			case b.busy.Load():
				return uart.Unsent{Left: time.Millisecond, Bytes: 1}
			}
			return uart.Unsent{}
		},
		Urgent: func(e uart.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.urgent = append(b.urgent, e)
		},
	})
}

// announced counts the calls of Urgent with this kind.
func (b *bench) announced(kind uart.Kind) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, e := range b.urgent {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// next returns the next result of Next. It fails the test if the port reports what it does not carry. Events with
// control lines only are skipped unless the test is about them: on hosts that carry the lines, an open raises them and
// a close drops them.
func (b *bench) next() result {
	b.Helper()
	for {
		p, e, err := b.port.Next()
		if err != nil {
			b.Fatalf("next: %v", err)
		}
		b.checkClaimed(e)
		if e.Kind == uart.KindSettings && e.Coding == (uart.Coding{}) && e.Flow == (uart.Flow{}) && !b.lines {
			continue
		}
		return result{data: bytes.Clone(p), event: e}
	}
}

// event returns the next result, which must be an event of this kind, and calls its Ready.
func (b *bench) event(kind uart.Kind) uart.Event {
	b.Helper()
	a := b.next()
	if a.event.Kind != kind {
		b.Fatalf("next: got %v %.40q, want %v", a.event, a.data, kind)
	}
	if a.event.Ready != nil {
		a.event.Ready(nil)
	}
	return a.event
}

// data calls Next until it has returned all of want, and returns the events between the bytes.
func (b *bench) data(want []byte) (events []uart.Event) {
	b.Helper()
	for done := 0; done < len(want); {
		a := b.next()
		if a.event.Kind != uart.KindData {
			events = append(events, a.event)
			continue
		}
		if len(a.data) == 0 {
			b.Fatalf("next: no bytes and no event after %d of %d bytes", done, len(want))
		}
		n := min(len(a.data), len(want)-done)
		if !bytes.Equal(a.data, want[done:done+n]) {
			b.Fatalf("next: got %.40q after %d of %d bytes, want %.40q", a.data, done, len(want), want[done:done+n])
		}
		done += n
	}
	return events
}

// openFirst opens the port with the first program, consumes the event, and releases an open that waits.
func (b *bench) openFirst() Program {
	b.Helper()
	type result struct {
		p   Program
		err error
	}
	opened := make(chan result, 1)
	go func() {
		p, err := b.programs.Open(b.path)
		opened <- result{p, err}
	}()
	e := b.next().event
	if e.Kind != uart.KindOpened {
		b.Fatalf("next: got %v, want the open", e)
	}
	if waits := b.host.Fidelity().Carries(uart.CarriesOpenWait); waits != (e.Ready != nil) {
		b.Errorf("the open waits: %v, but the host claims %v", e.Ready != nil, waits)
	}
	if e.Ready != nil {
		select {
		case <-opened:
			b.Error("the program's open returned before the session was ready")
		default:
		}
		e.Ready(nil)
	}
	r := <-opened
	if r.err != nil {
		b.Fatalf("the program's open: %v", r.err)
	}
	return b.track(r.p)
}

// openAnother opens the port with a further program.
func (b *bench) openAnother() Program {
	b.Helper()
	p, err := b.programs.Open(b.path)
	if err != nil {
		b.Fatalf("a further program's open: %v", err)
	}
	return b.track(p)
}

// write starts a program's write in a goroutine that ends with the program or the port.
func (b *bench) write(p io.Writer, data []byte) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := p.Write(data)
		done <- err
	}()
	return done
}

// must fails the test if a program's call has failed.
func (b *bench) must(what string, err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("the program's %s: %v", what, err)
	}
}

// lastClose closes the last program that has the port open, and consumes the event. A close may wait until the far UART
// is empty, and so for the Next that returns the lent bytes.
func (b *bench) lastClose(p Program) {
	b.Helper()
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	b.event(uart.KindClosed)
	b.must("close", <-closed)
}

// eventually polls a condition.
func (b *bench) eventually(what string, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(testenv.Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%s: not within %v", what, testenv.Patience)
		}
	}
}

// settles waits until a number has not changed for quiet.
func settles(number func() int64) int64 {
	for last := number(); ; {
		time.Sleep(quiet)
		now := number()
		if now == last {
			return now
		}
		last = now
	}
}

// gone reports whether nothing is at the path.
func gone(path string) bool {
	_, err := os.Lstat(path)
	return err != nil
}

// noise returns n pseudo-random bytes, the same in each run.
func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// everyByte returns all 256 values, each next to those that are special to a line discipline or to Telnet.
func everyByte() []byte {
	var p []byte
	for v := range 256 {
		p = append(p, byte(v), 0xff, byte(v), '\r', byte(v), '\n', byte(v), 0, byte(v), 3, byte(v), 4, byte(v), 0x11, byte(v), 0x13)
	}
	return p
}
