package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

func warnLog() (*logLines, *slog.Logger) {
	l := &logLines{}
	return l, slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// What resend had in hand when the session was lost still ages.
func TestCornerHandHasNoAge(t *testing.T) {
	for name, p := range map[string]bridge.Policy{"hold": {}, "discard": {OnLoss: bridge.OnLossDiscard}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				f.dead, f.takes = true, time.Second
				b := start(t, p, f, 0)
				b.port().AppOpen()
				b.write("OPEN VALVE\n") // fresh: held for the first dial
				s := f.session(0)
				synctest.Wait() // resend is blocked in Write
				over := outage(f, s)
				time.Sleep(100 * time.Second)
				b.write("status?\n")
				time.Sleep(100 * time.Millisecond)
				f.set(func() { f.dead = false })
				over()
				next := f.session(1)
				time.Sleep(time.Second)
				if got := next.take(0); strings.Contains(got, "VALVE") {
					t.Errorf("the device got %q, 100 s late", got)
				}
				b.end()
			})
		})
	}
}

// A server that answers marks, and then stalls: its TCP acknowledges, its program reads nothing. Then comes the last
// close.
func TestCornerGivenUpMarkIsDrained(t *testing.T) {
	for name, before := range map[string]time.Duration{"stalls at the close": 0, "has stalled for long": 100 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logger := warnLog()
				f := newFar()
				b, p, s := opened(t, bridge.Policy{}, f, 0, logger)
				b.write("answered")
				time.Sleep(time.Second)
				f.set(func() { s.muteMark, s.stays = true, true })
				b.write("x")
				time.Sleep(before)
				b.write(strings.Repeat("x", 5000))
				p.AppClose()
				s.ended()
				if got := b.status(); log.String() == "" || got.LastLoss.AtMost < 5000 {
					t.Errorf("5000 bytes after an unanswered mark: %+v, log %q", got.LastLoss, log.String())
				}
				b.end()
			})
		})
	}
}

func TestCornerChangeAfterAnUnansweredMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		f := newFar()
		b, p, s := opened(t, bridge.Policy{}, f, uart.CarriesDrain, logger)
		b.write("answered")
		time.Sleep(time.Second)
		f.set(func() { s.muteMark = true })
		b.write("x")
		time.Sleep(time.Second)
		p.AppSet(coding("19200"))
		s.applied("settings 19200")
		synctest.Wait()
		if log.String() == "" {
			t.Errorf("the change was sent before bytes that the server has not taken, and the log does not say so")
		}
		b.end()
	})
}

func TestCornerEndBreaksAWaitingChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.paced = true
		b := start(t, bridge.Policy{}, f, uart.CarriesDrain)
		p := b.port()
		p.AppOpen()
		p.AppSet(coding("2400 8N1"))
		s := f.session(0)
		synctest.Wait()
		b.write(strings.Repeat("x", 5000)) // 20.8 s
		p.AppSet(coding("9600"))
		time.Sleep(time.Second)
		b.end()
		if s.line.wrong > 0 {
			t.Errorf("%d bytes had not left the line when the change was sent", s.line.wrong)
		}
	})
}

// hooked is a remote whose sessions call alive and unacked before they return these, applies before they take settings,
// and afterState once they have taken the first settings. nil: nothing is called.
type hooked struct {
	*far
	alive, unacked, afterState func()
	applies                    func(uart.Event)
}

type hookedSession struct {
	uart.Session
	h    *hooked
	once sync.Once
}

func (s *hookedSession) Apply(e uart.Event) error {
	if h := s.h.applies; h != nil {
		h(e)
	}
	err := s.Session.Apply(e)
	s.once.Do(func() {
		if h := s.h.afterState; h != nil {
			h()
		}
	})
	return err
}

func (h *hooked) Dial(ctx context.Context, m uart.LineState) (uart.Session, error) {
	s, err := h.far.Dial(ctx, m)
	if err != nil {
		return nil, err
	}
	return &hookedSession{Session: s, h: h}, nil
}

func (s *hookedSession) Alive() uart.Peer {
	if h := s.h.alive; h != nil {
		h()
	}
	return s.Session.Alive()
}

func (s *hookedSession) Unacked() int {
	if h := s.h.unacked; h != nil {
		h()
	}
	return s.Session.Unacked()
}

// A program opens and writes between Run's check (not wanted, everything is out) and FIN.
func TestCornerWrittenAtFIN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		h := &hooked{far: newFar()}
		h.paced = true
		var port *uarttest.Port
		var bb *bridge.Bridge
		b := bridge.New(bridge.Config{
			Remote: h, Log: logger, Policy: bridge.Policy{Linger: new(time.Duration(0))},
			Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
				port = uarttest.NewPort(c)
				return port, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		bb = b
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		port.AppOpen()
		s := h.session(0)
		synctest.Wait()
		first := true
		h.alive = func() {
			if first && bb.Status().Link == bridge.LinkClosing {
				first = false
				port.AppOpen()
				_, _ = port.AppWrite(make([]byte, 960))
				s.take(960)
			}
		}
		port.AppClose()
		time.Sleep(10 * time.Second)
		if got := b.Status(); s.lost > 0 && got.LastLoss.AtMost < uint64(s.lost) {
			t.Errorf("our FIN cut off %d bytes; the loss: %+v, log %q", s.lost, got.LastLoss, log.String())
		}
		cancel()
		<-ended
	})
}

func TestCornerModemWhileLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s := opened(t, bridge.Policy{Linger: new(time.Duration(0))}, f, 0)
		f.set(func() { s.stays = true })
		p.AppClose()
		synctest.Wait()
		s.send(uart.Event{Kind: uart.KindModem, Modem: uart.CTS | uart.DSR})
		time.Sleep(time.Minute)
		if got := b.status(); got.Link != bridge.LinkIdle || got.Modem != 0 {
			t.Errorf("no session (%s), but the port shows %v", got.Link, got.Modem)
		}
		b.end()
	})
}

func TestCornerSleepInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		s := f.session(0)
		s.send(uart.Event{Kind: uart.KindModem, Modem: uart.CTS | uart.DCD})
		p.AppModem(uart.CTS | uart.DCD)
		outage(f, s)
		p.AppModem(uart.DCD)
		b.bridge.Sleep()
		time.Sleep(time.Minute)
		if got := b.status().Modem; got != 0 {
			t.Errorf("asleep, but the port shows %v", got)
		}
		b.end()
	})
}

// Repeated opens keep all bytes fresh.
func TestCornerFreshForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.takes = 49 * time.Second
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		for range 100 {
			p.AppOpen()
			b.write("p")
			p.AppClose()
			time.Sleep(500 * time.Millisecond)
		}
		s := f.session(0)
		time.Sleep(time.Second)
		if got := len(s.take(0)); got > 21 {
			t.Errorf("%d commands of the last %d s arrived at once, want those of 10 s at most", got, got/2)
		}
		b.end()
	})
}

// A first open whose dial must wait for the delay, and more bytes than can be held.
func TestCornerCloseBeforeTheDialsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.refuse = errors.New("away")
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		time.Sleep(30 * time.Second) // delays of 2 s
		p.AppClose()
		_, dials := f.count()
		for { // right after a failed dial
			if _, n := f.count(); n != dials || b.bridge.Status().Link == bridge.LinkIdle {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		f.set(func() { f.refuse = nil })
		p.AppOpen()
		b.write(strings.Repeat("x", 100_000))
		p.AppClose()
		time.Sleep(time.Minute)
		if got := b.status().UpDropped; got > 0 {
			sessions, n := f.count()
			t.Errorf("%d of 100000 bytes were dropped; %d sessions, %d dials for that open", got, sessions, n-dials)
		}
		b.end()
	})
}

// The same after a session that takes long to end.
func TestCornerOpenWhileLeft(t *testing.T) {
	for name, size := range map[string]int{"small": 2, "big": 100_000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				b, p, s := opened(t, bridge.Policy{Linger: new(time.Duration(0))}, f, 0)
				f.set(func() { s.stays, f.noMarks = true, true })
				b.write("x") // never marked: Run waits for FIN for 10 s
				time.Sleep(time.Second)
				p.AppClose()
				synctest.Wait()
				if got := s.sentWords(); got[len(got)-1] != "FIN" {
					t.Fatal(got)
				}
				p.AppOpen()
				b.write(strings.Repeat("y", size))
				p.AppClose()
				time.Sleep(time.Minute)
				if got := b.status().UpDropped; got > 0 {
					n, dials := f.count()
					t.Errorf("%d bytes of %d dropped; %d sessions, %d dials", got, size, n, dials)
				}
				b.end()
			})
		})
	}
}

// Repeated closes while a server takes nothing.
func TestCornerClosesKeepTheClockYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.dead = true
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		for range 60 {
			p.AppOpen()
			b.write("p")
			p.AppClose()
			time.Sleep(10 * time.Second)
		}
		f.set(func() { f.dead = false; f.sessions[len(f.sessions)-1].window = -1 })
		time.Sleep(time.Minute)
		if got := len(f.all()); got > 4 {
			t.Errorf("%d commands of the last %d s arrived at once", got, 10*got)
		}
		b.end()
	})
}

// Events without a session.
func TestCornerManyEventsWithoutALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		outage(f, f.session(0))
		b.write("x")
		for i := range 300 {
			p.AppSet(lines([]string{"RTS on", "RTS off"}[i%2]))
			synctest.Wait()
		}
		p.AppSet(coding("300"))
		time.Sleep(time.Minute)
		if got := b.status().Wanted; got.Coding.Baud != 300 {
			t.Errorf("the bridge has not taken the last setting: %v", got)
		}
		b.end()
	})
}

// A purge without a session.
func TestCornerPurgeWithoutALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		p.AppSet(lines("DTR on"))
		over := outage(f, f.session(0))
		b.write("x")
		p.AppSet(lines("DTR off"))
		p.AppSet(lines("DTR on"))
		p.AppPurge(uart.PurgeTx)
		time.Sleep(time.Minute)
		over()
		s := f.session(1)
		time.Sleep(time.Second)
		b.want(s, "settings 9600 8N1 DTR on")
		b.end()
	})
}

func TestCornerDropsToldTwice(t *testing.T) {
	t.Run("purge", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log, logger := warnLog()
			f := newFar()
			b, p, s := opened(t, bridge.Policy{}, f, 0, logger)
			s.send(uart.Event{Kind: uart.KindSuspended})
			synctest.Wait()
			b.write("purged")
			synctest.Wait()
			p.AppPurge(uart.PurgeTx)
			s.send(uart.Event{Kind: uart.KindResumed})
			synctest.Wait()
			s.lose(io.EOF)
			f.session(1)
			synctest.Wait()
			if strings.Contains(log.String(), "while there was no session") {
				t.Error(log.String())
			}
			b.end()
		})
	})
	t.Run("hangup", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log, logger := warnLog()
			f := newFar()
			b, _, s := opened(t, bridge.Policy{OnLoss: bridge.OnLossHangup}, f, 0, logger)
			f.set(func() { s.window = 0 })
			b.write("lost once")
			s.lose(errReset)
			time.Sleep(10 * time.Second)
			before := log.String()
			b.port().AppOpen()
			f.session(1)
			synctest.Wait()
			if more := strings.TrimPrefix(log.String(), before); more != "" {
				t.Errorf("logged before:\n%s\nand again:\n%s", before, more)
			}
			b.end()
		})
	})
	t.Run("closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log, logger := warnLog()
			f := newFar()
			f.refuse = errors.New("away")
			b := start(t, bridge.Policy{}, f, 0, logger)
			p := b.port()
			p.AppOpen()
			b.write("told")
			p.AppClose()
			time.Sleep(time.Minute)
			f.set(func() { f.refuse = nil })
			p.AppOpen()
			f.session(0)
			synctest.Wait()
			if n := strings.Count(log.String(), "dropped=4"); n != 1 {
				t.Errorf("logged %d times:\n%s", n, log.String())
			}
			b.end()
		})
	})
}

// On a host that drains nothing asks for unsent bytes: an old fast coding must not enter the estimate.
func TestCornerFastCodingOfLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.paced = true
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		p.AppSet(coding("115200"))
		s := f.session(0)
		synctest.Wait()
		b.write(strings.Repeat("x", 100_000))
		time.Sleep(time.Minute)
		p.AppSet(coding("300"))
		b.write(strings.Repeat("x", 600))
		time.Sleep(time.Second)
		truth := s.waiting()
		s.lose(errReset)
		f.session(1)
		if got := b.status().LastLoss; got.AtMost > uint64(truth)+4096+30 {
			t.Errorf("lost_at_most is %d, actually lost: %d", got.AtMost, truth)
		}
		b.end()
	})
}

func TestCornerErrorStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.refuse = errors.New("away")
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		time.Sleep(time.Second)
		p.AppClose()
		time.Sleep(time.Minute)
		if got := b.status(); got.Link == bridge.LinkIdle && got.Error != "" {
			t.Errorf("idle, no session is wanted, but the error is %q", got.Error)
		}
		b.end()
	})
}

func TestCornerUnreadAtTheEndIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		f := newFar()
		b, _, s := opened(t, bridge.Policy{}, f, 0, logger)
		s.send(make([]byte, 64<<10))
		f.set(func() { f.refuse, s.peer.Ended, s.peer.Unread = errors.New("away"), true, 5000 })
		time.Sleep(time.Minute)
		b.end()
		if !strings.Contains(log.String(), "unread=5000") {
			t.Errorf("5000 unread bytes are dropped, counted: %d, log:\n%s", b.status().DownDropped, log.String())
		}
	})
}

// slow delays an event of the port on its way to up, like a goroutine that is not scheduled.
type slow struct {
	*uarttest.Port
	kind uart.Kind
	by   time.Duration
}

func (s *slow) Next() ([]byte, uart.Event, error) {
	p, e, err := s.Port.Next()
	if err == nil && e.Kind == s.kind {
		time.Sleep(s.by)
	}
	return p, e, err
}

func TestCornerOpenAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		var port *slow
		b := bridge.New(bridge.Config{
			Remote: f, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
				port = &slow{uarttest.NewPort(c), uart.KindOpened, time.Second}
				return port, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		ready := port.AppOpen()
		cancel()
		<-ended
		if len(ready) != 1 {
			t.Error("an open that waits never returned")
		}
	})
}

func TestCornerDrainAtAChangedCoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.paced = true
		b, p, s := opened(t, bridge.Policy{}, f, 0)
		f.set(func() { s.line.coding.Baud = 300 })
		s.send(uart.Event{Kind: uart.KindChanged, Coding: uart.Coding{Baud: 300}})
		synctest.Wait()
		b.write(strings.Repeat("x", 300))
		if err := p.AppDrain(); err != nil {
			t.Fatal(err)
		}
		if early := time.Until(s.out()); early > 0 {
			t.Errorf("the drain returned %v early", early)
		}
		b.end()
	})
}

func TestCornerPortLostWithBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0, logger)
		p := b.port()
		p.AppOpen()
		outage(f, f.session(0))
		b.write("held")
		synctest.Wait()
		before := log.String()
		p.Fail(errors.New("pulled"))
		<-b.result
		if more := strings.TrimPrefix(log.String(), before); !strings.Contains(more, "dropped=4") {
			t.Errorf("dropped %d, log %q", b.status().UpDropped, more)
		}
	})
}

func TestCornerDiscardAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.dead, f.takes = true, time.Second
		b := start(t, bridge.Policy{OnLoss: bridge.OnLossDiscard}, f, 0)
		p := b.port()
		p.AppOpen()
		b.write("one")
		p.AppSet(lines("RTS on"))
		b.write("two")
		f.session(0)
		synctest.Wait()
		b.bridge.Sleep()
		time.Sleep(time.Hour)
		f.set(func() { f.dead = false })
		b.bridge.Wake()
		s := f.session(1)
		time.Sleep(5 * time.Second)
		if got := s.take(0); got != "" {
			t.Errorf("an hour late under discard: %q", got)
		}
		b.end()
	})
}

// A close that up has not seen, more bytes than are held, and the machine asleep.
func TestCornerAsleepWithAnUnseenClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		f.session(0)
		synctest.Wait()
		b.bridge.Sleep()
		synctest.Wait()
		b.write(strings.Repeat("x", 100_000))
		p.AppClose()
		time.Sleep(time.Hour)
		b.bridge.Wake()
		time.Sleep(time.Minute)
		if got := len(f.all()); got > 0 {
			t.Errorf("%d bytes arrived from a port that was closed an hour ago", got)
		}
		b.end()
	})
}

// Like the real sessions: CloseWrite sends FIN after the Write in progress and does not end it.
func TestCornerUpStaysInALostSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, _, s := opened(t, bridge.Policy{}, f, 0)
		s.send(make([]byte, 64<<10)) // the application does not read: down is blocked in Port.Write
		f.set(func() { s.window = 10 })
		s.stays = true
		b.write("first words of many")
		f.set(func() { s.peer.Ended = true }) // FIN; its window stays closed
		next := f.session(1)
		time.Sleep(10 * time.Minute)
		if got := next.take(0); got == "" {
			t.Errorf("the new session got nothing in 10 min, link %s", b.status().Link)
		}
		b.end()
	})
}

func TestCornerUnreadNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		f := newFar()
		b, _, s := opened(t, bridge.Policy{}, f, 0, logger)
		s.send(make([]byte, 64<<10))
		f.set(func() { s.peer.Ended = true })
		for i := 1; i < 3; i++ {
			next := f.session(i)
			f.set(func() { next.peer.Ended = true })
		}
		f.session(3)
		synctest.Wait()
		if strings.Contains(log.String(), "unread=0") {
			t.Error(log.String())
		}
		b.end()
	})
}

// SIGTERM during the phase closing.
func TestCornerEndWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.paced = true
		b := start(t, bridge.Policy{Linger: new(time.Duration(0))}, f, 0)
		p := b.port()
		p.AppOpen()
		f.session(0)
		synctest.Wait()
		b.write(strings.Repeat("x", 9600))
		p.AppClose()
		time.Sleep(time.Second)
		if got := b.status().Link; got != bridge.LinkClosing {
			t.Fatal(got)
		}
		b.cancel()
		time.Sleep(100 * time.Millisecond)
		if got := b.status().Link; got != bridge.LinkClosing {
			t.Errorf("closing, then %s", got)
		}
		b.end()
	})
}

// The shutdown in every phase: what was written is sent or counted.
func TestCornerEndInEveryPhase(t *testing.T) {
	const size = 60_000
	for name, tc := range map[string]struct {
		policy bridge.Policy
		to     func(b *bench, f *far)
	}{
		"asleep": {bridge.Policy{}, func(b *bench, f *far) {
			b.port().AppOpen()
			f.session(0)
			b.bridge.Sleep()
			synctest.Wait()
		}},
		"waits for the next dial": {bridge.Policy{}, func(b *bench, f *far) {
			f.set(func() { f.refuse = errors.New("away") })
			b.port().AppOpen()
			time.Sleep(30 * time.Second)
		}},
		"dials": {bridge.Policy{}, func(b *bench, f *far) {
			f.set(func() { f.takes = time.Hour })
			b.port().AppOpen()
		}},
		"left": {bridge.Policy{Linger: new(time.Duration(0))}, func(b *bench, f *far) {
			b.port().AppOpen()
			s := f.session(0)
			synctest.Wait()
			f.set(func() { s.stays = true })
			b.port().AppClose()
			synctest.Wait()
			b.port().AppOpen()
		}},
		"closing": {bridge.Policy{Linger: new(time.Duration(0))}, func(b *bench, f *far) {
			b.port().AppOpen()
			s := f.session(0)
			synctest.Wait()
			f.set(func() { s.unacked, s.muteMark = 5, true })
			b.write("x")
			b.port().AppClose()
			synctest.Wait()
			b.port().AppOpen()
			f.set(func() { s.window = 0 })
		}},
		"resend is stuck": {bridge.Policy{}, func(b *bench, f *far) {
			f.set(func() { f.dead, f.takes = true, time.Second })
			b.port().AppOpen()
			b.write("x")
			f.session(0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logger := warnLog()
				f := newFar()
				b := start(t, tc.policy, f, uart.CarriesDrain, logger)
				tc.to(b, f)
				before := len(f.all())
				was := b.status().UpDropped
				b.write(strings.Repeat("x", size))
				synctest.Wait()
				began := time.Now()
				b.end()
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("took %v", took)
				}
				got := b.status()
				if n := len(f.all()) - before + int(got.UpDropped-was); n < size || n > size+1 {
					t.Errorf("%d of %d sent or counted; log\n%s", n, size, log.String())
				}
			})
		})
	}
}

func TestCornerSleepAndWakeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		b.port().AppOpen()
		f.session(0)
		synctest.Wait()
		b.bridge.Sleep()
		b.bridge.Wake()
		time.Sleep(time.Minute)
		if n, _ := f.count(); n != 2 {
			t.Errorf("%d sessions: the one from before the sleep continues", n)
		}
		b.end()
	})
}

func TestCornerLooks(t *testing.T) {
	for name, change := range map[string]bool{"closing": false, "change": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hooked{far: newFar()}
				looks := 0
				b := start(t, bridge.Policy{Linger: new(time.Duration(0))}, h, uart.CarriesDrain)
				port := b.port()
				port.AppOpen()
				s := h.session(0)
				synctest.Wait()
				h.set(func() { s.muteMark = true })
				b.write("x")
				synctest.Wait()
				h.alive = func() { h.set(func() { looks++ }) }
				if change {
					port.AppSet(coding("300"))
				} else {
					port.AppClose()
				}
				time.Sleep(25 * time.Second)
				n := 0
				h.set(func() { n = looks })
				if n > 500 {
					t.Errorf("%d checks of the socket in 25 s in which nothing happened", n)
				}
				b.end()
			})
		})
	}
}

// The log must not report one program's dropped bytes as another's.
func TestCornerLogOfExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		f := newFar()
		f.takes = time.Hour
		b := start(t, bridge.Policy{}, f, 0, logger)
		b.port().AppOpen()
		for range 8 {
			b.write("x")
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		if strings.Contains(log.String(), "closed port") {
			t.Errorf("the port is open, but the log says: %s", log.String())
		}
		b.end()
	})
}

func TestCornerStorm(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 7))
				f := newFar()
				f.takes = time.Duration(rnd.IntN(3)) * time.Second
				pol := bridge.Policy{OnLoss: []bridge.OnLoss{bridge.OnLossHold, bridge.OnLossHold, bridge.OnLossDiscard}[rnd.IntN(3)]}
				if rnd.IntN(3) == 0 {
					pol.HoldFor = new([]time.Duration{0, bridge.Forever, 10 * time.Second}[rnd.IntN(3)])
				}
				if rnd.IntN(3) == 0 {
					pol.Linger = new(time.Duration(0))
				}
				lacks := uart.Fidelity(0)
				if rnd.IntN(2) == 0 {
					lacks = uart.CarriesDrain
				}
				b := start(t, pol, f, lacks)
				p := b.port()
				open := false
				written, word := 0, 0
				for range 150 {
					var s *farSession
					f.set(func() {
						if n := len(f.sessions); n > 0 {
							s = f.sessions[n-1]
						}
					})
					switch rnd.IntN(16) {
					case 0, 1:
						if !open {
							p.AppOpen()
							open = true
						}
					case 2:
						if open {
							p.AppClose()
							open = false
						}
					case 3, 4, 5, 6, 7:
						if open && p.Waiting() < 40_000 {
							n := 1 + rnd.IntN(300)
							if rnd.IntN(5) == 0 {
								n = 2000
							}
							var w strings.Builder
							for range n {
								fmt.Fprintf(&w, "%07d;", word)
								word++
							}
							m, _ := p.AppWrite([]byte(w.String()))
							written += m
						}
					case 8:
						if open {
							p.AppSet(uart.Event{Coding: uart.Coding{Baud: []uint32{9600, 115200, 19200}[rnd.IntN(3)]}})
						}
					case 9:
						if open {
							p.AppSet(lines([]string{"RTS on", "RTS off", "break on", "break off"}[rnd.IntN(4)]))
						}
					case 10:
						if s != nil {
							if rnd.IntN(2) == 0 {
								s.lose(errReset)
							} else {
								s.lose(io.EOF)
							}
						}
					case 11:
						if s != nil {
							f.set(func() { s.window = []int{0, 10, 5000, -1, -1}[rnd.IntN(5)] })
						}
					case 12:
						f.set(func() {
							f.refuse = nil
							if rnd.IntN(2) == 0 {
								f.refuse = errors.New("away")
							}
						})
					case 13:
						if s != nil {
							s.send(uart.Event{Kind: []uart.Kind{uart.KindSuspended, uart.KindResumed, uart.KindResumed}[rnd.IntN(3)]})
						}
					case 14:
						if s != nil {
							f.set(func() { s.muteMark, s.stays, s.unacked = rnd.IntN(2) == 0, rnd.IntN(2) == 0, rnd.IntN(2)*rnd.IntN(100) })
						}
					case 15:
						if rnd.IntN(3) == 0 {
							b.bridge.Sleep()
						} else {
							b.bridge.Wake()
						}
					}
					time.Sleep(time.Duration(rnd.IntN(4)*rnd.IntN(4)*rnd.IntN(400)) * time.Millisecond)
				}
				began := time.Now()
				b.end()
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("took %v", took)
				}
				got := b.status()
				data := f.all()
				if len(data)+int(got.UpDropped) != written || got.UpBytes != uint64(len(data)) {
					t.Errorf("written %d, sent %d, counted up %d, dropped %d", written, len(data), got.UpBytes, got.UpDropped)
				}
				last := -1
				for _, s := range f.sessions {
					for _, w := range strings.Split(string(s.data), ";") {
						if n, err := strconv.Atoi(w); len(w) == 7 && err == nil {
							if n <= last {
								t.Fatalf("%d after %d", n, last)
							}
							last = n
						}
					}
				}
			})
		})
	}
}

// The shutdown, while up is blocked in a Write that our FIN does not end: what is in the port is counted too.
func TestCornerEndCountsThePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logger := warnLog()
		f := newFar()
		b, _, s := opened(t, bridge.Policy{}, f, 0, logger)
		f.set(func() { s.window, s.unacked, s.stays = 10, 5, true })
		b.write(strings.Repeat("x", 30_000))
		time.Sleep(time.Second)
		b.end()
		if n := len(f.all()) + int(b.status().UpDropped); n != 30_000 {
			t.Errorf("%d of 30000 bytes sent or counted:\n%s", n, log.String())
		}
	})
}
