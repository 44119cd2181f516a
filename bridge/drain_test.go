package bridge_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// asks is opened, with a far UART at 9600 and this delay on the way to it, and returns what Unsent reports.
func asks(t *testing.T, f *far, way time.Duration) (b *bench, p *uarttest.Port, s *farSession, unsent func() uart.Unsent) {
	t.Helper()
	f.paced, f.delay = true, func() time.Duration { return way }
	b = startOn(t, bridge.Policy{}, f, func(p *uarttest.Port, c uart.PortConfig) uart.Port {
		unsent = c.Unsent
		return p
	})
	p = b.port()
	p.AppOpen()
	s = f.session(0)
	synctest.Wait()
	return b, p, s, unsent
}

// TestDrainAfterAPause: after a pause of the writer it is already known when the bytes had left: a drain returns at
// once.
func TestDrainAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, p, _, _ := asks(t, newFar(), 2*time.Millisecond)
		for range 200 {
			b.write("x")
			time.Sleep(20 * time.Millisecond)
			before := time.Now()
			if err := p.AppDrain(); err != nil || time.Since(before) > 0 {
				t.Fatalf("a drain of bytes that left long ago took %v (%v)", time.Since(before), err)
			}
		}
		b.end()
	})
}

// TestDrainIsWoken: the answer to a mark wakes a drain at once; it does not wait for the next check.
func TestDrainIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const way = 3700 * time.Microsecond
		b, p, s, _ := asks(t, newFar(), way)
		for range 50 {
			before := time.Now()
			b.write("x")
			if err := p.AppDrain(); err != nil {
				t.Fatal(err)
			}
			// The server has the byte when its answer comes, and from then on the line needs the byte's time at most.
			if took, want := time.Since(before), way+uart.DefaultCoding().LineTime(1); took != want {
				t.Fatalf("a drain took %v, want %v", took, want)
			}
			if n := s.waiting(); n > 0 {
				t.Fatalf("%d bytes had not left", n)
			}
		}
		b.end()
	})
}

// TestDrainIsWokenByTEMT: a report of TEMT ends the wait before the computed time does.
func TestDrainIsWokenByTEMT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s, _ := asks(t, f, 0)
		f.set(func() { s.muteMark = true })
		b.write(strings.Repeat("x", 96))
		before := time.Now()
		time.AfterFunc(90*time.Millisecond, func() { f.set(func() { s.answerMark() }) }) // late: the line looks busy until 190 ms
		time.AfterFunc(123*time.Millisecond, func() { s.send(uart.Event{Kind: uart.KindLine, Line: uart.LineTEMT}) })
		if err := p.AppDrain(); err != nil || time.Since(before) != 123*time.Millisecond {
			t.Errorf("the drain took %v (%v), want 123ms", time.Since(before), err)
		}
		b.end()
	})
}

// TestUnsentFalls: Unsent counts what has not left the line, and never grows while nothing is written.
func TestUnsentFalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s, unsent := asks(t, f, 5*time.Millisecond)
		b.write(strings.Repeat("x", 1000))
		last := 1000
		for range 2000 {
			synctest.Wait()
			u := unsent()
			if u.Bytes > last || u.Bytes < s.waiting() {
				t.Fatalf("%d bytes unsent, then %d; the line has %d", last, u.Bytes, s.waiting())
			}
			if (u.Left == 0) != (u.Bytes == 0) || !u.Up {
				t.Fatalf("%+v", u)
			}
			last = u.Bytes
			time.Sleep(time.Millisecond)
		}
		if last != 0 {
			t.Errorf("%d bytes are unsent at the end", last)
		}
		if err := p.AppDrain(); err != nil {
			t.Error(err)
		}
		b.end()
	})
}

// TestUnsentUntilTheAnswer: bytes that may not have arrived are all unsent, however long ago the line could have
// carried them.
func TestUnsentUntilTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, _, s, unsent := asks(t, f, 0)
		f.set(func() { s.muteMark = true })
		b.write(strings.Repeat("x", 1000))
		time.Sleep(5 * time.Second)
		if u := unsent(); u.Bytes != 1000 || u.Left <= 0 {
			t.Errorf("%+v, want 1000 bytes", u)
		}
		f.set(func() { s.answerMark() })
		b.end()
	})
}

// TestUnsentHeld: bytes that wait for a session are unsent, every one of them, and Changed reports the new session.
func TestUnsentHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.paced, f.takes = true, 3*time.Second
		var unsent func() uart.Unsent
		b := startOn(t, bridge.Policy{}, f, func(p *uarttest.Port, c uart.PortConfig) uart.Port {
			unsent = c.Unsent
			return p
		})
		b.port().AppOpen()
		b.write(strings.Repeat("x", 1000))
		synctest.Wait()
		if u := unsent(); u.Bytes != 1000 || u.Left <= 0 || u.Up {
			t.Errorf("%+v, want 1000 bytes and no session", u)
		}
		before := time.Now()
		for !unsent().Up {
			<-unsent().Changed
		}
		if took := time.Since(before); took != f.takes {
			t.Errorf("Changed reported the session %v after the dial had begun, want %v", took, f.takes)
		}
		b.end()
	})
}

// TestMarksOfAQuickExchange: a program that never drains causes few marks, however it writes.
func TestMarksOfAQuickExchange(t *testing.T) {
	for _, every := range []time.Duration{time.Millisecond, 4 * time.Millisecond, 50 * time.Millisecond} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _, s, _ := asks(t, newFar(), 100*time.Microsecond)
				const lasts = 20 * time.Second
				for begin := time.Now(); time.Since(begin) < lasts; time.Sleep(every) {
					b.write("x")
				}
				marks := 0
				for _, word := range s.sentWords() {
					if word == "mark" {
						marks++
					}
				}
				if most := int(lasts/(250*time.Millisecond)) + 40; marks > most {
					t.Errorf("%d marks in %v, want %d at most", marks, lasts, most)
				}
				b.end()
			})
		})
	}
}
