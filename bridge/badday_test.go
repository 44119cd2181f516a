package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
)

// Bad days in virtual time: which promises hold when the peer stalls, floods, dies or lies.

// A server may take any number of bytes ahead of its line and still answer marks at once. The session does not end
// before its line can have carried them.
func TestLastCloseWaitsForTheLine(t *testing.T) {
	for _, size := range []int{4 << 10, 20_000, 150_000, 1 << 20} {
		for _, baud := range []uint32{300, 2400, 9600, 115_200, 921_600} {
			t.Run(fmt.Sprintf("%d at %d", size, baud), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFar()
					f.paced = true
					b := start(t, bridge.Policy{}, f, 0)
					p := b.port()
					p.AppOpen()
					p.AppSet(uart.Event{Coding: uart.Coding{Baud: baud}})
					s := f.session(0)
					synctest.Wait()
					b.write(strings.Repeat("x", size))
					p.AppClose()
					s.ended()
					if s.lost > 0 || len(s.take(0)) != size {
						t.Errorf("the session was closed with %d bytes sent, of which %d had not left the line", len(s.take(0)), s.lost)
					}
					late := time.Since(s.out())
					if most := 2*time.Second + time.Second; late > most {
						t.Errorf("it was closed %v after the last byte had left, want %v at most", late, most)
					}
					b.end()
				})
			})
		}
	}
}

// Bytes at a wrong rate are never right: a change waits for the bytes before it however long they need.
func TestChangesWaitForTheLine(t *testing.T) {
	for name, change := range map[string]uart.Event{
		"coding": coding("9600"), "DTR falls": lines("DTR off"), "RTS falls": lines("RTS off"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				f.paced = true
				b := start(t, bridge.Policy{}, f, uart.CarriesDrain)
				p := b.port()
				p.AppOpen()
				p.AppSet(coding("2400 8N1"))
				p.AppSet(lines("DTR on RTS on"))
				s := f.session(0)
				synctest.Wait()
				b.write(strings.Repeat("x", 3000)) // 12.5 s
				p.AppSet(change)
				time.Sleep(5 * time.Second)
				if b.status().ChangeWaits.IsZero() {
					t.Error("the status does not show that a change waits")
				}
				s.applied("settings " + change.Coding.String() + change.Control.String())
				if n := s.waiting(); s.line.wrong > 0 || n > 0 {
					t.Errorf("%d bytes had not left the line when the change came", n)
				}
				if !b.status().ChangeWaits.IsZero() {
					t.Error("the status still shows that a change waits")
				}
				b.end()
			})
		})
	}
}

// A change that was held until the session came, and then waits for the bytes before it, is sent before the session of the closed
// port ends, whichever of the two comes first at the moment in which the last byte leaves.
func TestHeldChangeIsSentBeforeTheEnd(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			f := newFar()
			f.paced, f.takes = true, 100*time.Millisecond
			b := start(t, bridge.Policy{}, f, uart.CarriesDrain)
			p := b.port()
			p.AppOpen()
			p.AppSet(coding("9600 8N1"))
			b.write(strings.Repeat("x", 3000)) // 3.1 s
			p.AppSet(coding("38400"))
			p.AppClose()
			s := f.session(0)
			s.ended()
			if words := s.all(); !slices.Contains(words, "settings 38400") || s.line.wrong > 0 {
				t.Errorf("the session ended after %.40q, %d bytes left at a wrong rate", words, s.line.wrong)
			}
			b.end()
		})
	}
}

// So it is if telnetcpc ends meanwhile and the program still has the port open.
func TestHeldChangeIsSentBeforeTheShutdown(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			f := newFar()
			f.paced, f.takes = true, 100*time.Millisecond
			b := start(t, bridge.Policy{}, f, uart.CarriesDrain)
			p := b.port()
			p.AppOpen()
			p.AppSet(coding("9600 8N1"))
			b.write(strings.Repeat("x", 3000)) // 3.1 s
			p.AppSet(coding("38400"))
			s := f.session(0)
			time.Sleep(time.Second)
			b.end()
			if words := s.all(); !slices.Contains(words, "settings 38400") || s.line.wrong > 0 {
				t.Errorf("the session ended after %.40q, %d bytes left at a wrong rate", words, s.line.wrong)
			}
		})
	}
}

// Bytes that make no progress delay a change for 30 s; bytes that leave slowly delay it for as long as they do.
func TestChangeAfterStuckBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s := opened(t, bridge.Policy{}, f, uart.CarriesDrain)
		f.set(func() { s.unacked, s.muteMark = 100, true })
		b.write(strings.Repeat("x", 100))
		began := time.Now()
		p.AppSet(coding("19200"))
		for n := 99; n > 0; n-- { // one byte every 20 s is progress
			time.Sleep(20 * time.Second)
			f.set(func() { s.unacked = n })
		}
		s.applied("settings 19200")
		if took := time.Since(began); took < 99*20*time.Second+30*time.Second || took > 99*20*time.Second+40*time.Second {
			t.Errorf("the change came after %v, want 30 s after the last progress", took)
		}
		b.end()
	})
}

// A relay has acknowledged the bytes, the server gets them a minute later, and its line needs longer than that: what is
// written and closed after a change waits for them.
func TestChangeAfterBytesThatArrivedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		f := newFar()
		f.paced = true
		b, p, s := opened(t, bridge.Policy{}, f, uart.CarriesDrain, logger)
		p.AppSet(coding("1200 8N1"))
		synctest.Wait()
		began := time.Now()
		f.set(func() {
			f.delay = func() time.Duration { return max(0, time.Minute-time.Since(began)) }
		})
		b.write(strings.Repeat("x", 20_000)) // 167 s
		p.AppSet(coding("9600"))
		b.write("tail")
		p.AppClose()
		s.ended()
		if got := s.take(0); len(got) != 20_004 || s.line.wrong > 0 || s.lost > 0 || log.String() != "" {
			t.Errorf("of 20004 bytes %d arrived, %d at a wrong rate, %d were cut off; log %q", len(got), s.line.wrong, s.lost, log.String())
		}
		b.end()
	})
}

// A middlebox may acknowledge TCP, and bytes may take long on their way: only the mark's answer dates the last byte.
func TestDrainNeverEndsBeforeTheLastStopBit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random, network := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, 4))
		f := newFar()
		f.paced = true
		f.delay = func() time.Duration { return time.Duration(network.IntN(300)) * time.Millisecond }
		b, p, s := opened(t, bridge.Policy{}, f, 0)
		for i := range 500 {
			if i%50 == 0 {
				p.AppSet(uart.Event{Coding: uart.Coding{Baud: []uint32{300, 1200, 9600, 115_200}[random.IntN(4)]}})
			}
			for range 1 + random.IntN(5) {
				b.write(strings.Repeat("x", 1+random.IntN(300)))
				time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			}
			if err := p.AppDrain(); err != nil {
				t.Fatal(err)
			}
			if early := time.Until(s.out()); early > 0 {
				t.Fatalf("drain %d returned %v before the last stop bit", i, early)
			}
			if late := time.Since(s.out()); late > 1200*time.Millisecond {
				t.Fatalf("drain %d returned %v after the last stop bit", i, late)
			}
		}
		b.end()
	})
}

// outage ends a session and makes dials fail until the returned function is called.
func outage(f *far, s *farSession) (over func()) {
	f.set(func() { f.refuse = errors.New("down") })
	s.lose(errReset)
	synctest.Wait()
	return func() { f.set(func() { f.refuse = nil }) }
}

// TestHoldForOfPolls: a program that polls ten times a second continues during an outage; the device gets the requests
// of the last hold_for and none that are older.
func TestHoldForOfPolls(t *testing.T) {
	for name, tc := range map[string]struct {
		hold *time.Duration
		want int // of 100 polls
	}{
		"default": {nil, 11}, "2 s": {new(2 * time.Second), 21}, "nothing": {new(time.Duration(0)), 0}, "forever": {new(bridge.Forever), 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				b := start(t, bridge.Policy{HoldFor: tc.hold}, f, 0)
				b.port().AppOpen()
				s := f.session(0)
				synctest.Wait()
				over := outage(f, s)
				time.Sleep(5 * time.Second)
				for i := range 100 {
					b.write(fmt.Sprintf("poll%03d;", i))
					time.Sleep(100 * time.Millisecond)
				}
				over()
				next := f.session(1)
				time.Sleep(time.Second)
				var want strings.Builder
				for i := 100 - tc.want; i < 100; i++ {
					fmt.Fprintf(&want, "poll%03d;", i)
				}
				if got := next.take(0); got != want.String() {
					t.Errorf("the device got %q, want %q", got, want.String())
				}
				if got := b.status().UpDropped; got != uint64(8*(100-tc.want)) {
					t.Errorf("dropped: got %d, want %d", got, 8*(100-tc.want))
				}
				b.end()
			})
		})
	}
}

// A stream that is blocked survives any outage whole, and so does the line of a program that waits for its answer.
func TestHoldOfBlockedWrites(t *testing.T) {
	for _, size := range []int{10, 500_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				b := start(t, bridge.Policy{}, f, 0)
				p := b.port()
				p.AppOpen()
				over := outage(f, f.session(0))
				text := make([]byte, size)
				for i := range text {
					text[i] = byte(i % 251)
				}
				wrote := make(chan error, 1)
				go func() {
					_, err := p.AppWrite(text)
					wrote <- err
				}()
				time.Sleep(time.Hour)
				if held := b.status().Held; held > 64<<10 {
					t.Errorf("%d bytes are held, want 64 KiB at most", held)
				}
				over()
				if got := f.session(1).take(size); got != string(text) {
					t.Errorf("%d bytes arrived, want all %d unchanged", len(got), size)
				}
				if err := <-wrote; err != nil {
					t.Error(err)
				}
				b.end()
			})
		})
	}
}

// Each byte is sent at the coding at which it was written, also the held ones.
func TestHoldKeepsSettingsInTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		over := outage(f, f.session(0))
		p.AppSet(coding("300 7E1"))
		b.write("at 300")
		time.Sleep(1500 * time.Millisecond) // what is dropped leaves its coding
		p.AppSet(coding("1200 7E1"))
		b.write("at 1200")
		p.AppSet(lines("RTS on break on"))
		p.AppSet(lines("break off"))
		p.AppSet(coding("9600 8N1"))
		b.write("at 9600")
		p.AppSet(lines("RTS off"))
		time.Sleep(time.Minute)
		over()
		s := f.session(1)
		s.take(14)
		b.want(s, "settings 1200 7E1", "data at 1200", "settings RTS on", "settings 9600 8N?", "data at 9600", "settings RTS off")
		got := b.status()
		if got.UpDropped != 6 || got.BreaksDropped != 2 {
			t.Errorf("dropped %d bytes and %d breaks, want 6 and 2", got.UpDropped, got.BreaksDropped)
		}
		b.end()
	})
}

// A new session gets what is held, and after it what the application writes meanwhile, also if it is lost again in the
// middle.
func TestHeldAndNewBytesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.dead = true
		b := start(t, bridge.Policy{HoldFor: new(bridge.Forever)}, f, 0)
		p := b.port()
		p.AppOpen()
		var want, got strings.Builder
		for i := range 60 {
			s := f.session(i)
			for j := range 40 {
				word := fmt.Sprintf("%d.%d ", i, j)
				want.WriteString(word)
				b.write(word)
				if j == 20 {
					f.set(func() { s.window += i * 7 % 300 })
				}
			}
			synctest.Wait()
			s.lose(errReset)
			synctest.Wait()
			got.WriteString(s.take(0))
		}
		f.set(func() { f.dead = false })
		time.Sleep(time.Minute)
		for i := 60; ; i++ {
			if n, _ := f.count(); i >= n {
				break
			}
			got.WriteString(f.session(i).take(0))
		}
		if got.String() != want.String() {
			t.Errorf("got %d bytes, want %d, equal for the first %d", got.Len(), want.Len(), common(got.String(), want.String()))
		}
		b.end()
	})
}

// common is how many leading bytes of a and b are equal.
func common(a, b string) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// The bytes of a closed port wait for hold_for, old commands are never sent late, and nothing is dialed for them after
// that.
func TestWrittenAndClosedInAnOutage(t *testing.T) {
	for name, purge := range map[string]bool{"close": false, "purge": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				f.refuse = errors.New("away")
				b := start(t, bridge.Policy{}, f, 0)
				p := b.port()
				p.AppOpen()
				b.write("OPEN VALVE\n")
				synctest.Wait()
				if purge {
					p.AppPurge(uart.PurgeTx)
				}
				p.AppClose()
				time.Sleep(3 * time.Second)
				if got := b.status(); got.UpDropped != 11 || got.Link != bridge.LinkIdle {
					t.Errorf("after 3 s: dropped %d, %s; want 11, idle", got.UpDropped, got.Link)
				}
				_, before := f.count()
				f.set(func() { f.refuse = nil })
				time.Sleep(time.Hour)
				if sessions, dials := f.count(); sessions > 0 || dials != before || dials > 10 {
					t.Errorf("%d sessions, %d dials and then %d; want none, and 10 at most", sessions, before, dials-before)
				}
				b.end()
			})
		})
	}
}

// tcdrain returns after hold_for of an outage, as with a cut cable, and waits while a session is up that takes no
// bytes.
func TestDrainInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s := opened(t, bridge.Policy{}, f, 0)
		f.set(func() { s.window, s.unacked = 0, 1 })
		drained := make(chan time.Time, 1)
		drain := func() {
			if err := p.AppDrain(); err != nil {
				t.Error(err)
			}
			drained <- time.Now()
		}
		go func() { _, _ = p.AppWrite(make([]byte, 200_000)) }()
		synctest.Wait()
		go drain()
		time.Sleep(10 * time.Minute)
		if len(drained) > 0 {
			t.Error("a drain returned while the session was up and took nothing")
		}
		lost := time.Now()
		over := outage(f, s)
		if took := (<-drained).Sub(lost); took < time.Second || took > 2*time.Second {
			t.Errorf("the drain returned %v after the session ended, want hold_for", took)
		}
		over()
		f.session(1).take(200_000)
		b.end()
	})
}

// A program that turns HUPCL off and leaves DTR on keeps the session: its end would reset the board.
func TestHUPCL(t *testing.T) {
	for name, tc := range map[string]struct {
		linger *time.Duration
		dtr    string
		hupcl  bool
		kept   bool
	}{
		"HUPCL is off":       {nil, "DTR on", false, true},
		"HUPCL is on":        {nil, "DTR on", true, false},
		"DTR is down":        {nil, "DTR off", false, false},
		"DTR was never set":  {nil, "RTS on", false, false},
		"a linger was given": {new(5 * time.Second), "DTR on", false, false},
		"no linger":          {new(time.Duration(0)), "DTR on", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				b := start(t, bridge.Policy{Linger: tc.linger}, f, 0)
				p := b.port()
				p.AppOpen()
				p.AppHUPCL(tc.hupcl)
				p.AppSet(lines(tc.dtr))
				s := f.session(0)
				synctest.Wait()
				p.AppClose()
				if tc.linger != nil && *tc.linger == 0 {
					synctest.Wait() // zero is a value of its own
				} else {
					time.Sleep(time.Hour)
				}
				if got := b.status().Link; (got == bridge.LinkUp) != tc.kept {
					t.Errorf("after the close: %s, want it kept: %v", got, tc.kept)
				}
				if n, _ := f.count(); n != 1 || s.lost != 0 {
					t.Errorf("%d sessions, want 1", n)
				}
				b.end()
			})
		})
	}
}

// The shutdown takes 20 s at most whatever the peer does, and what it costs is logged.
func TestEndInEveryFault(t *testing.T) {
	for name, tc := range map[string]struct {
		fault func(f *far, s *farSession)
		lost  bool // bytes are lost, and the log says so
	}{
		"all is well":          {func(*far, *farSession) {}, false},
		"window closed":        {func(_ *far, s *farSession) { s.window, s.unacked = 10, 5 }, true},
		"closed, no marks":     {func(f *far, s *farSession) { s.window, s.unacked, f.noMarks = 10, 5, true }, true},
		"marks not answered":   {func(_ *far, s *farSession) { s.muteMark = true }, true},
		"half-closed":          {func(_ *far, s *farSession) { s.window, s.peer.Ended, s.unacked = 10, true, 5 }, true},
		"FIN is not answered":  {func(_ *far, s *farSession) { s.stays = true }, false},
		"suspended":            {func(_ *far, s *farSession) { s.in = append(s.in, uart.Event{Kind: uart.KindSuspended}) }, true},
		"gone, and away":       {func(f *far, s *farSession) { s.err, f.refuse = errReset, errors.New("away") }, true},
		"gone, dials hang":     {func(f *far, s *farSession) { s.err, f.takes = errReset, time.Hour }, true},
		"device floods":        {func(_ *far, s *farSession) { s.in = append(s.in, make([]byte, 1<<20), make([]byte, 1<<20)) }, false},
		"asked for no session": {func(f *far, _ *farSession) {}, false},
	} {
		for _, policy := range []bridge.OnLoss{bridge.OnLossHold, bridge.OnLossDiscard, bridge.OnLossHangup} {
			t.Run(name+", "+string(policy), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log := &logLines{}
					f := newFar()
					b := start(t, bridge.Policy{OnLoss: policy}, f, 0, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
					p := b.port()
					p.AppOpen()
					p.AppSet(coding("115200 8N1"))
					s := f.session(0)
					synctest.Wait()
					f.set(func() { tc.fault(f, s) })
					time.Sleep(time.Second)
					go func() { _, _ = p.AppWrite(make([]byte, 20_000)) }()
					time.Sleep(time.Second)
					began := time.Now()
					b.end()
					if took := time.Since(began); took > 20*time.Second {
						t.Errorf("the shutdown took %v", took)
					}
					got := b.status()
					given := len(f.all())
					if tc.lost && policy == bridge.OnLossHold && !strings.Contains(log.String(), "lost_at_most") && !strings.Contains(log.String(), "dropped=20000") {
						t.Errorf("20,000 bytes written, %d sent: log\n%s", given, log.String())
					}
					if counted := uint64(given) + got.UpDropped; policy != bridge.OnLossHangup && counted != 20_000 {
						t.Errorf("of 20000 bytes written %d were sent and %d dropped: %d are missing", given, got.UpDropped, 20_000-int(counted))
					}
					if !tc.lost && log.String() != "" {
						t.Errorf("nothing was lost, and the log says\n%s", log.String())
					}
				})
			})
		}
	}
}

// While bytes make progress nothing is given up: 20,000 bytes to a slow device, more than 30 s after the close.
func TestLastCloseOfASlowDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.noMarks = true
		b, p, s := opened(t, bridge.Policy{}, f, 0)
		f.set(func() { s.window, s.unacked = 0, 1 })
		b.write(strings.Repeat("x", 20_000))
		p.AppClose()
		for given := 0; given < 20_000; given += 200 {
			time.Sleep(4 * time.Second)
			f.set(func() { s.window += 200 })
		}
		s.take(20_000)
		for n := 1000; n >= 0; n -= 100 { // and in TCP's buffer
			f.set(func() { s.unacked = n })
			time.Sleep(20 * time.Second)
		}
		s.ended()
		if got := b.status(); len(s.take(0)) != 20_000 || got.UpDropped != 0 || got.Losses != 0 {
			t.Errorf("%d of 20000 bytes arrived, %d dropped, %d losses", len(s.take(0)), got.UpDropped, got.Losses)
		}
		b.end()
	})
}

// What the close then cuts off is reported as a loss with its numbers.
func TestLastCloseCutIsALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s := opened(t, bridge.Policy{}, f, 0)
		f.set(func() { s.unacked, s.muteMark = 7000, true })
		b.write(strings.Repeat("x", 20_000))
		p.AppClose()
		s.ended()
		got := b.status()
		if got.Losses != 1 || got.LastLoss.SinceMark != 20_000 || got.LastLoss.Unacked != 7000 {
			t.Errorf("got %d losses, the last %+v; want one of 20000 since the mark, 7000 unacked", got.Losses, got.LastLoss)
		}
		b.end()
	})
}

// What is read late from a lost session belongs to that session: its marks and lines are not the current one's.
func TestLateEventsOfALostSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s := opened(t, bridge.Policy{}, f, 0)
		s.send(uart.Event{Kind: uart.KindModem, Modem: uart.DSR})
		s.send(make([]byte, 64<<10)) // the application reads nothing: down is blocked here
		f.set(func() { s.muteMark = true })
		b.write(strings.Repeat("x", 1000))
		s.take(1000)
		s.send(uart.Event{Kind: uart.KindModem, Modem: uart.CTS})
		s.send(uart.Event{Kind: uart.KindMarked, Bytes: 1000})
		s.send(uart.Event{Kind: uart.KindSuspended})
		f.set(func() { s.peer.Ended = true })
		next := f.session(1)
		f.set(func() { s.err = io.EOF })
		b.write("new")
		next.take(3)
		buf := make([]byte, 64<<10)
		for read := 0; read < 64<<10; {
			n, err := p.AppRead(buf)
			if err != nil {
				t.Fatal(err)
			}
			read += n
		}
		synctest.Wait()
		next.send(uart.Event{Kind: uart.KindModem, Modem: uart.RI})
		p.AppModem(uart.RI)
		for _, m := range p.Modems() {
			if m&uart.CTS != 0 {
				t.Errorf("the application saw %v of a lost session", m)
			}
		}
		b.write(" and more")
		next.take(12)
		before := time.Now()
		if err := p.AppDrain(); err != nil || time.Since(before) > time.Second {
			t.Errorf("drain: %v after %v", err, time.Since(before))
		}
		f.set(func() { next.muteMark = true })
		b.write("12345")
		next.take(17)
		next.lose(errReset)
		f.session(2)
		if got := b.status().LastLoss; got.SinceMark > 17 {
			t.Errorf("since_mark is %d of 17 bytes sent", got.SinceMark)
		}
		b.end()
	})
}

// hangup does not bypass the delays between dials, and a port that cannot be created is tried again.
func TestHangupBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{OnLoss: bridge.OnLossHangup}, f, 0)
		end := time.Now().Add(10 * time.Second)
		for time.Now().Before(end) {
			b.port().AppOpen()
			time.Sleep(time.Millisecond)
			f.mu.Lock()
			for _, s := range f.sessions {
				s.err = io.EOF
			}
			f.change.Broadcast()
			f.mu.Unlock()
		}
		_, dials := f.count()
		b.mu.Lock()
		ports := len(b.ports)
		b.mu.Unlock()
		if dials < 4 || dials > 20 || ports > 20 {
			t.Errorf("%d dials and %d ports in 10 s, want some and 20 at most", dials, ports)
		}
		b.set(func() { b.fails = errors.New("a file is in the way") })
		for b.bridge.Status().Link != bridge.LinkNoPort {
			time.Sleep(100 * time.Millisecond)
			f.mu.Lock()
			for _, s := range f.sessions {
				s.err = io.EOF
			}
			f.change.Broadcast()
			f.mu.Unlock()
		}
		time.Sleep(time.Hour)
		b.set(func() { b.fails = nil })
		time.Sleep(40 * time.Second)
		b.port().AppOpen()
		time.Sleep(5 * time.Second)
		if got := b.status().Link; got != bridge.LinkUp {
			t.Errorf("the port that could not be created for an hour: %s, want up", got)
		}
		b.end()
	})
}

// After a stall with an unanswered mark, drain relies on computation; when the mark is answered, marks count again.
func TestMarksAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.paced = true
		b, p, s := opened(t, bridge.Policy{}, f, 0)
		drain := func() time.Duration {
			before := time.Now()
			if err := p.AppDrain(); err != nil {
				t.Fatal(err)
			}
			return time.Since(before)
		}
		f.set(func() { s.muteMark = true })
		b.write("x")
		if took := drain(); took < 30*time.Second || took > 35*time.Second {
			t.Errorf("the first drain took %v, want the 30 s for which an answer is waited for", took)
		}
		b.write("x")
		if took := drain(); took > time.Second {
			t.Errorf("the second drain took %v, want the line time", took)
		}
		f.set(func() { s.muteMark = false; s.answerMark() })
		synctest.Wait()
		f.set(func() { f.delay = func() time.Duration { return 3 * time.Second } })
		b.write("x")
		if took := drain(); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("the drain after the answer took %v, want the mark's 3 s %q", took, s.words)
		}
		b.end()
	})
}

// The upper bound of a loss is never below the truth, and not far above it.
func TestLossBoundIsTight(t *testing.T) {
	for _, baud := range []uint32{1200, 9600, 115_200} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%d baud, %d", baud, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					random, network := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
					f := newFar()
					f.paced = true
					f.delay = func() time.Duration { return time.Duration(10+network.IntN(50)) * time.Millisecond }
					b := start(t, bridge.Policy{}, f, uart.CarriesDrain)
					p := b.port()
					p.AppOpen()
					p.AppSet(uart.Event{Coding: uart.Coding{Baud: baud}})
					s := f.session(0)
					synctest.Wait()
					perSecond := int(time.Second / s.line.coding.LineTime(1))
					for range 100 + random.IntN(100) { // about as much as the line carries
						b.write(strings.Repeat("x", 1+random.IntN(perSecond/5)))
						time.Sleep(100 * time.Millisecond)
					}
					time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
					truth := uint64(s.waiting())
					s.lose(errReset)
					f.session(1)
					got := b.status().LastLoss
					if most := truth + 4<<10 + uint64(perSecond); got.AtMost < truth || got.AtMost > most {
						t.Errorf("lost_at_most is %d, actually lost: %d, want at least that and at most %d (%+v)", got.AtMost, truth, most, got)
					}
					b.end()
				})
			})
		}
	}
}

// A server that suspends data and does not resume is reported after 5 s, with the remedy.
func TestSuspendedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logLines{}
		f := newFar()
		b, _, s := opened(t, bridge.Policy{}, f, 0, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
		since := time.Now()
		s.send(uart.Event{Kind: uart.KindSuspended})
		synctest.Wait()
		b.write("waits")
		time.Sleep(4 * time.Second)
		if text := log.String(); text != "" {
			t.Errorf("after 4 s: %s", text)
		}
		time.Sleep(time.Hour)
		if text := log.String(); strings.Count(text, "--quirk suspend-ignore") != 1 {
			t.Errorf("the log says\n%s", text)
		}
		if got := b.status().SuspendedSince; !got.Equal(since) {
			t.Errorf("suspended since %v, want %v", got, since)
		}
		s.send(uart.Event{Kind: uart.KindResumed})
		s.take(5)
		if got := b.status().SuspendedSince; !got.IsZero() {
			t.Errorf("resumed, but suspended since %v", got)
		}
		b.end()
	})
}

// Another client has changed the line coding at the access server: that is logged once, and what the application
// requests again is sent again.
func TestChangedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logLines{}
		f := newFar()
		b, p, s := opened(t, bridge.Policy{}, f, 0, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
		for range 3 {
			s.send(uart.Event{Kind: uart.KindChanged, Coding: uart.Coding{Baud: 19200}})
		}
		synctest.Wait()
		p.AppSet(lines("RTS on"))    // requests no rate
		p.AppSet(coding("9600 8N1")) // requests it
		p.AppSet(coding("9600 8N1")) // repeats it
		b.want(s, "settings 9600 8N1", "settings RTS on", "settings 9600")
		if text := log.String(); strings.Count(text, "was changed") != 1 || !strings.Contains(text, "19200") {
			t.Errorf("the log says\n%s", text)
		}
		if got := b.status().Changed; got.Coding.Baud != 19200 {
			t.Errorf("the status says %v", got)
		}
		b.end()
	})
}

// deaf is a remote whose sessions negotiate, and then take no settings until they are closed.
type deaf struct{ *far }

type deafSession struct {
	uart.Session
	closed chan struct{}
	once   sync.Once
}

func (d deaf) Dial(ctx context.Context, m uart.LineState) (uart.Session, error) {
	s, err := d.far.Dial(ctx, m)
	if err != nil {
		return nil, err
	}
	return &deafSession{Session: s, closed: make(chan struct{})}, nil
}

func (s *deafSession) Apply(uart.Event) error {
	<-s.closed
	return io.ErrClosedPipe
}

func (s *deafSession) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Session.Close()
}

// A server that accepts a session and then takes no settings blocks nothing: it is given up after 10 s and dialed
// again, the log has the reason, once, and the shutdown does not wait for it.
func TestServerThatTakesNoSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		f := newFar()
		b := start(t, bridge.Policy{}, deaf{f}, 0, logger)
		b.port().AppOpen()
		time.Sleep(time.Minute)
		if _, dials := f.count(); dials < 5 || dials > 7 {
			t.Errorf("%d dials in a minute, want one about every 10 s", dials)
		}
		if got := b.status(); got.Link != bridge.LinkConnecting || got.Sessions != 0 {
			t.Errorf("%s after %d sessions, want connecting after none", got.Link, got.Sessions)
		}
		if text := log.String(); strings.Count(text, "no settings within") != 1 {
			t.Errorf("the log says\n%s", text)
		}
		began := time.Now()
		b.end()
		if took := time.Since(began); took > time.Second {
			t.Errorf("the shutdown took %v", took)
		}
	})
}

// An access server's greeting is counted at each session and logged once; one that contains the time of day, four
// times.
func TestGreeted(t *testing.T) {
	for _, tt := range []struct {
		name string
		text func(i int) string
		want int // lines of the log
	}{
		{"the same", func(int) string { return `"hello\r\n"` }, 1},
		{"another each time", func(i int) string { return fmt.Sprintf(`"it is %d o'clock"`, i) }, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const sessions = 10
				log := &logLines{}
				f := newFar()
				b, _, s := opened(t, bridge.Policy{}, f, 0, slog.New(slog.NewTextHandler(log, nil)))
				for i := range sessions {
					s.send(uart.Event{Kind: uart.KindGreeting, Bytes: 7, Answer: tt.text(i)})
					synctest.Wait()
					s.lose(errReset)
					s = f.session(i + 1)
				}
				got := b.status()
				if got.GreetingDropped != 7*sessions || got.DownDropped != 0 || got.DownBytes != 0 {
					t.Errorf("%d bytes of greetings are counted, want %d, and no byte of the device", got.GreetingDropped, 7*sessions)
				}
				if text := log.String(); strings.Count(text, "greeting dropped (--quirk keep-greeting") != tt.want || !strings.Contains(text, "dropped=7") {
					t.Errorf("want it logged %d times; log\n%s", tt.want, text)
				}
				b.end()
			})
		})
	}
}
