package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

// One goroutine checks a condition, a second changes it, and the first acts on it. Here the second is always in time.

// The connection is reset, and down has closed it, between Run's check (it has not failed) and its question what is
// pending: a closed socket reports 0 bytes and takes no mark. The bytes are lost, not out.
func TestResetAtTheLastLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		h := &hooked{far: newFar()}
		b := start(t, bridge.Policy{Linger: new(time.Duration(0))}, h, 0, logger)
		p := b.port()
		p.AppOpen()
		s := h.session(0)
		synctest.Wait()
		h.set(func() { s.unacked, s.muteMark = 20, true })
		b.write(strings.Repeat("x", 20))
		time.Sleep(time.Second) // the line would have had the time
		synctest.Wait()
		first := true
		h.unacked = func() {
			if first && b.bridge.Status().Link == bridge.LinkClosing {
				first = false
				s.lose(errReset)
				h.set(func() {
					for !s.closed {
						h.change.Wait()
					}
				})
			}
		}
		p.AppClose()
		time.Sleep(time.Minute)
		if got := b.status(); got.Losses != 1 || got.LastLoss.AtMost != 20 || got.LastLoss.Unacked != 20 {
			t.Errorf("20 bytes are lost; got %d losses, the last %+v, log %q", got.Losses, got.LastLoss, log.String())
		}
		b.end()
	})
}

// A close is announced before its place in the stream. Until up has reached its open, it is unknown that the bytes
// between them wait for a first dial: `echo command > /dev/ttyV0`.
func TestCloseIsHeardBeforeItsOpen(t *testing.T) {
	for name, policy := range map[string]bridge.Policy{
		"discard": {OnLoss: bridge.OnLossDiscard}, "hangup": {OnLoss: bridge.OnLossHangup},
		"hold for 0": {HoldFor: new(time.Duration(0))}, "hold": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logger := warnLog()
				f := newFar()
				b := startOn(t, policy, f, func(p *uarttest.Port, _ uart.PortConfig) uart.Port {
					return &slow{p, uart.KindOpened, time.Millisecond}
				}, logger)
				p := b.port()
				p.AppOpen()
				b.write("command\n")
				p.AppClose()
				time.Sleep(time.Minute)
				if got := b.status(); string(f.all()) != "command\n" || got.UpDropped > 0 || log.String() != "" {
					t.Errorf("the device got %q, dropped %d, log\n%s", f.all(), got.UpDropped, log.String())
				}
				b.end()
			})
		})
	}
}

// A program opens the port between Run's check (the session is not wanted) and FIN: it gets nothing of that session, so
// its bytes wait for the first dial, like those of a program that comes after FIN.
func TestOpenAtFIN(t *testing.T) {
	policies := map[string]bridge.Policy{
		"discard": {OnLoss: bridge.OnLossDiscard, Linger: new(time.Duration(0))},
		"hold":    {Linger: new(time.Duration(0))},
	}
	for name, policy := range policies {
		for when, atFIN := range map[string]bool{"at FIN": true, "after FIN": false} {
			t.Run(name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log, logger := warnLog()
					h := &hooked{far: newFar()}
					b := start(t, policy, h, 0, logger)
					p := b.port()
					p.AppOpen()
					s := h.session(0)
					synctest.Wait()
					h.set(func() { s.stays = true }) // a server that takes its time for its FIN
					first := true
					h.alive = func() {
						if atFIN && first && b.bridge.Status().Link == bridge.LinkClosing {
							first = false
							p.AppOpen()
							time.Sleep(time.Millisecond) // up has seen it
						}
					}
					p.AppClose()
					time.Sleep(100 * time.Millisecond)
					if !atFIN {
						p.AppOpen()
					}
					synctest.Wait()
					b.write("OPEN VALVE\n")
					p.AppClose()
					time.Sleep(time.Minute)
					if got := b.status(); got.UpDropped > 0 || string(h.all()) != "OPEN VALVE\n" {
						t.Errorf("the device got %q, dropped %d, log\n%s", h.all(), got.UpDropped, log.String())
					}
					b.end()
				})
			})
		}
	}
}

// When a session has got what was written and closed before it, it is not wanted any more: Run must notice at once, not
// at its next timer.
func TestUnwantedOnceHeldBytesAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.takes = time.Second
		b := start(t, bridge.Policy{Linger: new(time.Duration(0))}, f, 0)
		p := b.port()
		p.AppOpen()
		b.write("x")
		p.AppClose()
		s := f.session(0)
		began := time.Now()
		s.applied("FIN")
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("a byte of 1 ms, and the port is closed: FIN came %v after the session", took)
		}
		b.end()
	})
}

// A dial is canceled as it completes, and then a session is wanted again: the result of the canceled dial is closed,
// and does not become the link.
func TestStoppedDialIsNoSession(t *testing.T) {
	for name, stop := range map[string]func(b *bench){
		"closed and opened": func(b *bench) {
			b.port().AppClose()
			time.Sleep(time.Millisecond)
			b.port().AppOpen()
		},
		"Sleep and Wake": func(b *bench) {
			b.bridge.Sleep()
			time.Sleep(time.Millisecond)
			b.bridge.Wake()
			time.Sleep(time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logger := warnLog()
				f := &hooked{far: newFar()}
				f.refuse = errors.New("away")
				b := start(t, bridge.Policy{OnLoss: bridge.OnLossHangup}, f, 0, logger)
				first := true
				f.afterState = func() {
					if first {
						first = false
						stop(b)
						time.Sleep(time.Millisecond)
					}
				}
				b.port().AppOpen()
				synctest.Wait() // one failed dial: after a close no session is wanted
				f.set(func() { f.refuse = nil })
				time.Sleep(time.Minute)
				if got := b.status(); got.Sessions != 1 || got.Losses > 0 || len(b.ports) != 1 {
					t.Errorf("%d sessions, %d losses, the last %+v, %d ports; want 1 session and nothing lost; log\n%s",
						got.Sessions, got.Losses, got.LastLoss, len(b.ports), log.String())
				}
				b.end()
			})
		})
	}
}

// slowLog delays one message, as if Run were not scheduled.
type slowLog struct {
	slog.Handler
	at    string
	sleep func()
}

func (s slowLog) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, s.at) {
		s.sleep()
	}
	return nil
}

// A dial completes, then the machine sleeps and wakes, all before Run's next step: its session is from before the
// sleep.
func TestDialDoneBeforeTheSleep(t *testing.T) {
	for range 20 { // a select picks at random what Run sees first
		synctest.Test(t, func(t *testing.T) {
			f := newFar()
			f.takes = 10*time.Second + 5*time.Millisecond // the bytes are given up shortly before
			var b *bench
			logger := slog.New(slowLog{slog.NewTextHandler(io.Discard, nil), "no session in time", func() {
				time.Sleep(7 * time.Millisecond) // the dial completes
				b.bridge.Sleep()
				time.Sleep(time.Millisecond)
				b.bridge.Wake()
				time.Sleep(time.Millisecond)
			}})
			b = start(t, bridge.Policy{Linger: new(time.Hour)}, f, 0, logger)
			p := b.port()
			p.AppOpen()
			b.write("x")
			p.AppClose()
			s := f.session(0)
			time.Sleep(time.Minute)
			f.set(func() {
				if !s.closed {
					t.Error("the session from before the sleep is the link after it")
				}
			})
			b.end()
		})
	}
}

// A peer that answers no marks resets the connection after our FIN: it has not read everything, or ends all connections
// like this. What may be lost is reported each time, as a warning once, and does not delay the next dial.
func TestResetAfterFIN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		f := newFar()
		f.noMarks = true
		b := start(t, bridge.Policy{Linger: new(time.Duration(0))}, f, 0, logger)
		p := b.port()
		for n := range 5 {
			p.AppOpen()
			began := time.Now()
			s := f.session(n)
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("session %d came up %v after its open", n, took)
			}
			f.set(func() { s.stays = true })
			b.write(strings.Repeat("x", 20))
			p.AppClose()
			s.applied("FIN")
			s.lose(errReset)
			s.ended()
			if got := b.status(); got.LastLoss.AtMost != 20 || got.Losses != 0 {
				t.Errorf("no mark covers the 20 bytes; got %+v, %d losses", got.LastLoss, got.Losses)
			}
			time.Sleep(time.Second)
		}
		if got := strings.Count(log.String(), "\n"); got != 1 || !strings.Contains(log.String(), "lost_at_most=20") {
			t.Errorf("want one warning with its number, got\n%s", log.String())
		}
		b.end()
	})
}

// What a peer that is given up had sent and the application had not read is dropped, counted once, and logged.
func TestUnreadOfADeadPeer(t *testing.T) {
	for name, policy := range map[string]bridge.Policy{"hold": {}, "hangup": {OnLoss: bridge.OnLossHangup}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logger := warnLog()
				f := newFar()
				b, _, s := opened(t, policy, f, 0, logger)
				s.send(make([]byte, 64<<10)) // down is blocked
				f.set(func() { s.peer.Unread, s.unacked = 5000, 1 })
				b.write("x")
				f.set(func() { s.silent = time.Now() })
				time.Sleep(time.Minute)
				got := b.status()
				if got.LastLoss.Unread != 5000 || !strings.Contains(log.String(), "unread=5000") {
					t.Errorf("5000 bytes were never read; got %+v, log\n%s", got.LastLoss, log.String())
				}
				b.end()
			})
		})
	}
}

// The port is opened as a hangup removes it: the next port is not open.
func TestOpenedAsThePortGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := startOn(t, bridge.Policy{OnLoss: bridge.OnLossHangup, Connect: bridge.ConnectAlways}, f, func(p *uarttest.Port, _ uart.PortConfig) uart.Port {
			return &slow{p, uart.KindOpened, 2 * time.Second}
		})
		s := f.session(0)
		synctest.Wait()
		b.port().AppOpen()
		s.lose(errReset)
		time.Sleep(time.Minute)
		if got := b.status(); len(b.ports) != 2 || got.Opened {
			t.Errorf("%d ports; the second is not open, but status has opened: %v", len(b.ports), got.Opened)
		}
		b.end()
	})
}

// What resend has in hand when the application purges it is no loss.
func TestPurgeOfBytesInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		f := newFar()
		f.dead, f.takes = true, time.Second
		b := start(t, bridge.Policy{}, f, 0, logger)
		p := b.port()
		p.AppOpen()
		b.write(strings.Repeat("x", 30_000))
		s := f.session(0)
		synctest.Wait() // resend is blocked in Write
		p.AppPurge(uart.PurgeTx)
		synctest.Wait()
		f.set(func() { s.window = -1 })
		time.Sleep(10 * time.Second)
		p.AppClose()
		time.Sleep(time.Minute)
		if got := b.status(); log.String() != "" || got.UpBytes+got.UpDropped != 30_000 {
			t.Errorf("of 30000 bytes %d were sent and %d dropped; log %q", got.UpBytes, got.UpDropped, log.String())
		}
		b.end()
	})
}

// slowModem delays SetModem.
type slowModem struct {
	*uarttest.Port
	shows func() // once
}

func (s *slowModem) SetModem(m uart.ModemState) error {
	if f := s.shows; f != nil {
		s.shows = nil
		f()
	}
	return s.Port.SetModem(m)
}

// A program opens and writes while Run, which has decided to leave the session, updates the modem lines: its bytes
// wait, and up does not spin until the session is detached.
func TestWrittenWhileTheEndIsShown(t *testing.T) {
	dog := time.AfterFunc(time.Minute, func() { panic("up spins: virtual time does not advance") })
	defer dog.Stop()
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		var port *slowModem
		b := startOn(t, bridge.Policy{Linger: new(time.Duration(0))}, f, func(p *uarttest.Port, _ uart.PortConfig) uart.Port {
			port = &slowModem{Port: p}
			return port
		})
		port.AppOpen()
		f.session(0)
		synctest.Wait()
		port.shows = func() {
			port.AppOpen()
			_, _ = port.AppWrite([]byte("x"))
			time.Sleep(time.Millisecond)
		}
		port.AppClose()
		time.Sleep(time.Minute)
		if got := string(f.all()); got != "x" || port.shows != nil {
			t.Errorf("the device got %q, want x", got)
		}
		b.end()
	})
}

// queued is a port whose events wait in an ordered.Queue, like those of the hosts run and kernel tty: a full queue
// merges purges, and a close with the open after it, though Urgent was called for each.
type queued struct {
	*uarttest.Port
	urgent func(uart.Event)

	mu      sync.Mutex // guards the fields below
	changed sync.Cond
	queue   ordered.Queue
	err     error
}

func newQueued(p *uarttest.Port, c uart.PortConfig) *queued {
	q := &queued{Port: p, urgent: c.Urgent}
	q.changed.L = &q.mu
	return q
}

func (q *queued) Next() ([]byte, uart.Event, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.queue.Empty() && q.err == nil {
		q.changed.Wait()
	}
	if q.err != nil {
		return nil, uart.Event{}, q.err
	}
	if e, ok := q.queue.Event(); ok {
		return nil, e, nil
	}
	b := make([]byte, 4096)
	return b[:q.queue.Take(b)], uart.Event{}, nil
}

func (q *queued) Close() error {
	q.set(func() { q.err = uart.ErrClosed })
	return q.Port.Close()
}

func (q *queued) set(change func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change()
	q.changed.Broadcast()
}

func (q *queued) open() { q.set(func() { q.queue.Add(uart.Event{Kind: uart.KindOpened}) }) }

func (q *queued) close() {
	e := uart.Event{Kind: uart.KindClosed}
	q.urgent(e)
	q.set(func() { q.queue.Add(e) })
}

func (q *queued) lines(s string) {
	e := lines(s)
	e.Kind = uart.KindSettings
	q.set(func() { q.queue.Add(e) })
}

func (q *queued) write(s string) { q.set(func() { q.queue.Push([]byte(s)) }) }

func (q *queued) purge() {
	e := uart.Event{Kind: uart.KindPurge, Purge: uart.PurgeTx}
	q.urgent(e)
	q.set(func() {
		q.queue.Drop()
		q.queue.Add(e)
	})
}

// While the access server takes nothing, a program purges, or a script opens and closes the port, more often than a
// host's queue has room for: all of that is accounted for, and what is written later arrives.
func TestMoreThanAQueueHolds(t *testing.T) {
	for name, again := range map[string]func(*queued){
		"purges": func(q *queued) {
			q.write("question\n")
			q.purge()
		},
		"closes": func(q *queued) {
			q.close()
			q.open()
		},
	} {
		for _, times := range []int{100, 300} {
			t.Run(fmt.Sprintf("%d %s", times, name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log, logger := warnLog()
					f := newFar()
					var q *queued
					b := startOn(t, bridge.Policy{}, f, func(p *uarttest.Port, c uart.PortConfig) uart.Port {
						q = newQueued(p, c)
						return q
					}, logger)
					q.open()
					s := f.session(0)
					synctest.Wait()
					f.set(func() { s.window = 0 })
					q.write("question\n") // up is blocked in Write
					synctest.Wait()
					for range times {
						again(q)
					}
					f.set(func() { s.window = -1 })
					time.Sleep(2 * time.Minute)
					q.write("after\n")
					time.Sleep(time.Minute)
					got := b.status()
					if !strings.HasSuffix(string(f.all()), "after\n") || got.Sessions != 1 || log.String() != "" {
						t.Errorf("the device got %q in %d sessions, %d bytes dropped, log\n%s", f.all(), got.Sessions, got.UpDropped, log.String())
					}

					// The counts still agree: a close whose bytes are stuck is noticed as usual.
					f.set(func() { s.window = 0 })
					q.write("stuck\n")
					q.close()
					time.Sleep(time.Minute)
					if !strings.Contains(log.String(), "are stuck") {
						t.Errorf("the bytes of a closed port are stuck, and the log does not say so: %q", log.String())
					}
					b.end()
				})
			})
		}
	}
}

// A program opens the port when the session has failed and Run has not detached it yet: its bytes have had no dial.
func TestOpenAtTheLoss(t *testing.T) {
	for name, policy := range map[string]bridge.Policy{
		"discard":                {OnLoss: bridge.OnLossDiscard, Connect: bridge.ConnectAlways},
		"hold for 0":             {HoldFor: new(time.Duration(0)), Connect: bridge.ConnectAlways},
		"hold, a dial takes 2 s": {Connect: bridge.ConnectAlways},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logger := warnLog()
				h := &hooked{far: newFar()}
				var b *bench
				first := true
				h.alive = func() { // Run checks the socket, seconds later
					if first {
						first = false
						h.session(0).lose(io.EOF)    // an idle session ends
						time.Sleep(time.Millisecond) // and down has read that
						b.port().AppOpen()
						b.write("OPEN VALVE\n")
						b.port().AppClose()
						time.Sleep(time.Millisecond)
					}
				}
				b = start(t, policy, h, 0, logger)
				h.session(0)
				h.set(func() { h.takes = 2 * time.Second })
				time.Sleep(time.Minute)
				if got := b.status(); string(h.all()) != "OPEN VALVE\n" {
					t.Errorf("the device got %q, dropped %d, log\n%s", h.all(), got.UpDropped, log.String())
				}
				b.end()
			})
		})
	}
}

// timed is a remote whose dials end at these times.
type timed struct {
	*far
	ends []time.Time
}

func (r *timed) Dial(ctx context.Context, m uart.LineState) (uart.Session, error) {
	if len(r.ends) > 0 {
		end := r.ends[0]
		r.ends = r.ends[1:]
		time.Sleep(time.Until(end))
	}
	return r.far.Dial(ctx, m)
}

// A dial fails, and a program opens the port before Run has seen that: its bytes wait for the next dial.
func TestOpenAtTheFailedDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := &timed{newFar(), []time.Time{
			began.Add(3 * time.Second), began.Add(3705 * time.Millisecond), began.Add(6 * time.Second),
		}}
		f.refuse = errors.New("away")
		var b *bench
		open := func(what string) {
			b.port().AppOpen()
			b.write(what)
			b.port().AppClose()
		}
		busy := false
		logger := slog.New(slowLog{slog.NewTextHandler(io.Discard, nil), "no session in time", func() {
			if !busy {
				busy = true
				time.Sleep(7 * time.Millisecond) // the second dial fails
				f.set(func() { f.refuse = nil }) // from now on the server is reachable
				open("OPEN VALVE")
				time.Sleep(time.Millisecond)
			}
		}})
		b = start(t, bridge.Policy{Connect: bridge.ConnectAlways}, f, 0, logger)
		time.Sleep(2700 * time.Millisecond)
		open("y") // given up 1 s later
		time.Sleep(time.Minute)
		if got := b.status(); string(f.all()) != "OPEN VALVE" || !busy {
			t.Errorf("the device got %q, dropped %d", f.all(), got.UpDropped)
		}
		b.end()
	})
}

// The program is to end when bytes have been written whose first dial has not begun: the session before has just been
// left, or a dial must wait for the delay. These bytes are not old.
func TestEndBeforeTheFirstDial(t *testing.T) {
	for name, held := range map[string]bool{"held": true, "in the port": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logger := warnLog()
				f := newFar()
				b := start(t, bridge.Policy{Linger: new(time.Duration(0))}, f, 0, logger)
				p := b.port()
				p.AppOpen()
				f.session(0)
				synctest.Wait()
				p.AppClose()
				synctest.Wait()
				p.AppOpen()
				b.write("OPEN VALVE\n")
				p.AppClose()
				if held {
					synctest.Wait()
				}
				b.end()
				if got := b.bridge.Status(); string(f.all()) != "OPEN VALVE\n" {
					t.Errorf("the device got %q, dropped %d, log\n%s", f.all(), got.UpDropped, log.String())
				}
			})
		})
	}
}

// A host's full queue merges a close and the open after it into the fall of DTR before them: the fall is still sent
// after the bytes before it.
func TestFallOfAMergedClose(t *testing.T) {
	for name, before := range map[string]int{"one less: not merged": 250, "merged": 254} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				waiting := -1 // when DTR fell; up's, until the shutdown
				f := &hooked{far: newFar()}
				f.applies = func(e uart.Event) {
					if e.Control.DTR == uart.LevelOff {
						waiting = f.session(0).waiting()
					}
				}
				f.paced = true
				var q *queued
				b := startOn(t, bridge.Policy{}, f, func(p *uarttest.Port, c uart.PortConfig) uart.Port {
					q = newQueued(p, c)
					return q
				})
				q.open()
				q.lines("DTR on RTS on")
				s := f.session(0)
				synctest.Wait()
				f.set(func() { s.window = 0 })
				q.write("x") // up is blocked in Write
				synctest.Wait()
				for i := range before {
					q.lines("RTS " + []string{"off", "on"}[i%2])
				}
				q.write(strings.Repeat("y", 100)) // 104 ms at 9600
				q.lines("DTR off RTS off")
				q.close()
				q.open()
				q.lines("DTR on RTS on")
				f.set(func() { s.window = -1 })
				time.Sleep(time.Minute)
				b.end()
				if waiting != 0 {
					t.Errorf("when DTR fell %d bytes had not left the line", waiting)
				}
			})
		})
	}
}

// The shutdown does not wait for bytes that cannot be sent: for a program that keeps writing without a session, or for
// the first dial of a machine that sleeps.
func TestEndWithNowhereToGo(t *testing.T) {
	for name, begin := range map[string]func(*bench, *far){
		"writes on, discard": func(b *bench, _ *far) {
			b.port().AppOpen()
			go func() { // ends with the port
				for {
					if _, err := b.port().AppWrite([]byte("x")); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
		},
		"asleep": func(b *bench, f *far) {
			f.set(func() { f.refuse = nil })
			b.bridge.Sleep()
			synctest.Wait()
			b.port().AppOpen()
			b.write("x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				f.refuse = errors.New("away")
				policy := bridge.Policy{}
				if name != "asleep" {
					policy.OnLoss = bridge.OnLossDiscard
				}
				b := start(t, policy, f, 0)
				begin(b, f)
				time.Sleep(time.Minute)
				began := time.Now()
				b.end()
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("the shutdown took %v", took)
				}
				time.Sleep(time.Second) // the writer has noticed
			})
		})
	}
}
