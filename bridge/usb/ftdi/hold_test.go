package ftdi_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/usbip"
	"telnetcpc/bridge/usb/usbip/usbiptest"
	"telnetcpc/ptyhost/aside"
)

// noSession is the PortConfig.Unsent of a bridge that has had no session for a long time.
func noSession() uart.Unsent { return uart.Unsent{Left: -1} }

// session is the PortConfig.Unsent of a bridge with a session until it has ended.
type session struct{ ended atomic.Bool }

func (s *session) unsent() uart.Unsent {
	if s.ended.Load() {
		return noSession()
	}
	return uart.Unsent{}
}

// edge returns the nth change of DTR and RTS.
func edge(n int) uart.Control {
	return uart.Control{DTR: uart.LevelOf(n%2 == 0), RTS: uart.LevelOf(n%4 < 2)}
}

// makes makes n edges, and sends the number of each when it is done.
func (b *bed) makes(from, n int) <-chan int {
	done := make(chan int, n)
	go func() { // ends with the driver
		defer close(done)
		for i := range n {
			b.driver.set(uart.Event{Control: edge(from + i)})
			done <- i
		}
	}()
	return done
}

// TestAllEdgesArrive: of 2000 edges back to back, with bytes in between, each arrives in order although the far end is
// slow.
func TestAllEdgesArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const edges, every = 2000, 300
		b := plugInto(t, uart.PortConfig{Unsent: new(session).unsent}, nil)
		b.opens()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range edges {
				if i%every == 0 {
					if _, err := b.driver.write([]byte{byte(i / every)}); err != nil {
						return
					}
					_ = b.driver.drainWrites()
				}
				b.driver.set(uart.Event{Control: edge(i)})
			}
			b.driver.closes()
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Error("no request was held")
		default:
		}
		for i := range edges {
			p, e := b.next()
			if i%every == 0 {
				if p != string([]byte{byte(i / every)}) {
					t.Fatalf("before edge %d: got %q, %v", i, p, e)
				}
				p, e = b.next()
			}
			if p != "" || e.Control != edge(i) {
				t.Fatalf("edge %d: got %q, %v, want %v", i, p, e, edge(i))
			}
		}
		b.wants("settings DTR off RTS off", "closed")
		<-done
	})
}

// TestHeldHoldsNothingElse: while an edge waits, the device does everything else: it reports its status, sends and receives
// bytes, and changes the line coding.
func TestHeldHoldsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const edges, room = 300, 256
		b := plugInto(t, uart.PortConfig{Unsent: new(session).unsent}, nil)
		b.opens()
		done := b.makes(0, edges)
		synctest.Wait()
		began := time.Now()
		if _, err := b.driver.modemStatus(); err != nil {
			t.Fatal(err)
		}
		if n, err := b.chip.Write([]byte("down")); n != 4 || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
		got := make([]byte, 10)
		if n, err := b.driver.read(got); err != nil || string(got[:n]) != "down" {
			t.Fatalf("read %q, %v", got[:n], err)
		}
		out := &usbiptest.URB{Endpoint: 2, Data: []byte("up")}
		_ = b.host.Submit(out)
		out.Wait()
		if status := b.requests(4, 0x0107, 0); status != 0 { // 7O1
			t.Errorf("line coding: status %d", status)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("everything else took %v", waited)
		}
		if n := len(done); n != room {
			t.Errorf("%d edges were made, want %d and one held", n, room)
		}
		for made := 0; made < edges; {
			if _, e := b.next(); e.Control != (uart.Control{}) {
				if e.Control != edge(made) {
					t.Fatalf("edge %d: got %v", made, e)
				}
				made++
			}
		}
	})
}

// takes calls Next n times.
func (b *bed) takes(n int) {
	b.Helper()
	for range n {
		b.next()
	}
}

// TestHeldForFourSeconds: a request is not held longer, since the driver gives up after five seconds; after that no request is
// held until the far end goes on. Merged changes are logged.
func TestHeldForFourSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logged{}
		b := plugInto(t, uart.PortConfig{Unsent: func() uart.Unsent { return uart.Unsent{} }}, slog.New(log))
		b.opens()
		done := b.makes(0, 500)
		began := time.Now()
		for range 256 {
			<-done
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("256 edges took %v", waited)
		}
		<-done
		if waited := time.Since(began); waited < 3*time.Second || waited >= 5*time.Second {
			t.Errorf("edge 257 took %v", waited)
		}
		began = time.Now()
		for range done {
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the edges after it took %v", waited)
		}
		b.takes(100) // the far end goes on
		done = b.makes(500, 200)
		synctest.Wait()
		if n := len(done); n >= 200 {
			t.Error("no request is held any more")
		}
		b.takes(264 - 100)
		for range done {
			b.next()
		}
		synctest.Wait()
		b.driver.closes()
		synctest.Wait()
		if want := "control lines or opens went by too fast: only the last of them was sent lost=236"; !log.has(want) {
			t.Errorf("the log has %q, want %q", log.all(), want)
		}
	})
}

// TestHeldIsReleased: a held edge is released when the session ends, when the device is unplugged or closed, and at a
// reset.
func TestHeldIsReleased(t *testing.T) {
	for name, end := range map[string]func(*bed, *session){
		"no session": func(_ *bed, s *session) { s.ended.Store(true) },
		"unplugged":  func(b *bed, _ *session) { b.chip.Unplug() },
		"closed":     func(b *bed, _ *session) { _ = b.chip.Close() },
		"reset":      func(b *bed, _ *session) { b.requests(0, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := new(session)
				b := plugInto(t, uart.PortConfig{Unsent: s.unsent}, nil)
				b.opens()
				done := b.makes(0, 257)
				for range 256 {
					<-done
				}
				synctest.Wait()
				if len(done) > 0 {
					t.Fatal("edge 257 is not held")
				}
				began := time.Now()
				end(b, s)
				<-done
				if waited := time.Since(began); waited >= time.Second {
					t.Errorf("it took %v", waited)
				}
			})
		})
	}
}

// TestHeldIsTakenBack: a request that the driver unlinks while it is held has no effect; later ones have.
func TestHeldIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := plugInto(t, uart.PortConfig{Unsent: func() uart.Unsent { return uart.Unsent{} }}, nil)
		b.opens()
		for range b.makes(0, 256) {
		}
		request := func(value uint16) *usbiptest.URB {
			u := &usbiptest.URB{Setup: usbip.Setup{Type: 0x40, Request: 1, Value: value, Index: channel}}
			_ = b.host.Submit(u)
			return u
		}
		back, later := request(0x0101), request(0x0200)
		synctest.Wait()
		if back.IsDone() || later.IsDone() {
			t.Fatal("a request is not held")
		}
		b.host.Unlink(back)
		back.Wait()
		b.takes(256)
		later.Wait()
		b.wants("settings RTS off")
	})
}

// logged is a log's handler that keeps its lines. It can be made to block.
type logged struct {
	block chan struct{} // Handle blocks until it is closed; nil: it does not
	mu    sync.Mutex    // over lines
	lines []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	if l.block != nil {
		<-l.block
	}
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

func (l *logged) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}

func (l *logged) has(want string) bool {
	for _, line := range l.all() {
		if line == want {
			return true
		}
	}
	return false
}

// TestLogBlocks: with the logger that hosts pass to New, a log that blocks does not block the port.
func TestLogBlocks(t *testing.T) {
	log := &logged{block: make(chan struct{})}
	b := plugInto(t, uart.PortConfig{Unsent: noSession}, aside.Logger(slog.New(log)))
	for range 3 {
		for i := range 100 {
			if err := b.driver.open(); err != nil {
				t.Fatal(err)
			}
			b.requests(1, 0x0300|uint16(i%4), 0)
			b.driver.closes() // logs that some were merged
		}
		b.takes(100)
	}
	if log.all() != nil {
		t.Error("the log did not block")
	}
	close(log.block)
}

// TestOpensInALoopThatWait: opens, writes and closes in a loop without a session, each open waiting for one, all end and are
// counted.
func TestOpensInALoopThatWait(t *testing.T) {
	const rounds = 3000
	b := plugIn(t, uart.PortConfig{OpenWait: time.Millisecond, Unsent: noSession})
	for range rounds {
		if err := b.driver.open(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.driver.write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		b.driver.closes()
	}
	visits, events, bytes := uint32(0), 0, 0
	for bytes < rounds || visits < rounds {
		p, e := b.next()
		if bytes += len(p); e.Kind != uart.KindData {
			events++
		}
		if visits += e.Visits; e.Kind == uart.KindClosed {
			visits++
		}
	}
	if visits != rounds || bytes != rounds || events > 1032 {
		t.Errorf("%d visits, %d bytes, %d events", visits, bytes, events)
	}
}
