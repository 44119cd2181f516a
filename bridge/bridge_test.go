package bridge_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"telnetcpc/bridge"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a bridge between a scripted application and a scripted access server, in synctest's time.
type bench struct {
	*testing.T
	bridge *bridge.Bridge
	cancel context.CancelFunc
	result chan error

	mu    sync.Mutex
	ports []*uarttest.Port
	fails error // opening the port returns this
}

func (b *bench) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// start runs a bridge and waits until its port exists. The returned bench's end stops it.
func start(t *testing.T, policy bridge.Policy, far bridge.Remote, lacks uart.Fidelity, log ...*slog.Logger) *bench {
	t.Helper()
	return startOn(t, policy, far, func(p *uarttest.Port, _ uart.PortConfig) uart.Port {
		p.SetFidelity(uart.FullFidelity &^ lacks)
		return p
	}, log...)
}

// startOn is start with a port that as may wrap.
func startOn(t *testing.T, policy bridge.Policy, far bridge.Remote, as func(*uarttest.Port, uart.PortConfig) uart.Port, log ...*slog.Logger) *bench {
	t.Helper()
	log = append(log, slog.New(slog.NewTextHandler(testLog(), nil)))
	b := &bench{T: t, result: make(chan error, 1)}
	b.bridge = bridge.New(bridge.Config{
		Name: "ttyV0", Path: "/dev/ttyV0", Remote: far, Policy: policy, Log: log[0],
		Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
			p := uarttest.NewPort(c)
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.fails != nil {
				return nil, b.fails
			}
			b.ports = append(b.ports, p)
			return as(p, c), nil
		},
	})
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(t.Context())
	go func() { b.result <- b.bridge.Run(ctx) }()
	synctest.Wait()
	return b
}

// opened is start with an application that has opened the port, and returns the session that this led to.
func opened(t *testing.T, policy bridge.Policy, f *far, lacks uart.Fidelity, log ...*slog.Logger) (*bench, *uarttest.Port, *farSession) {
	t.Helper()
	b := start(t, policy, f, lacks, log...)
	p := b.port()
	p.AppOpen()
	s := f.session(0)
	synctest.Wait()
	return b, p, s
}

// port is the last port that was opened.
func (b *bench) port() *uarttest.Port {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ports[len(b.ports)-1]
}

func (b *bench) write(s string) {
	b.Helper()
	if _, err := b.port().AppWrite([]byte(s)); err != nil {
		b.Fatalf("application's write: %v", err)
	}
}

// status is the bridge's status once everything that has begun at this moment is done: a session that a test sees may
// not be counted yet.
func (b *bench) status() bridge.Snapshot {
	synctest.Wait()
	return b.bridge.Status()
}

func (b *bench) end() {
	b.Helper()
	b.cancel()
	if err := <-b.result; err != nil {
		b.Errorf("Run: got %v, want nil", err)
	}
}

func (b *bench) want(s *farSession, words ...string) {
	b.Helper()
	synctest.Wait()
	if got := s.sentWords(); !slices.Equal(got, words) {
		b.Errorf("the access server got\n\t%q\nwant\n\t%q", got, words)
	}
}

func coding(s string) uart.Event {
	c, err := uart.ParseCoding(s)
	if err != nil {
		panic(err)
	}
	return uart.Event{Coding: c}
}

func lines(s string) uart.Event {
	c, err := uart.ParseControl(s)
	if err != nil {
		panic(err)
	}
	return uart.Event{Control: c}
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		p.AppSet(coding("19200 7E1"))
		s := f.session(0)
		synctest.Wait()
		b.write("one")
		p.AppSet(lines("DTR on RTS off"))
		b.write("two")
		p.AppSet(lines("break on"))
		p.AppSet(lines("break off"))
		p.AppSet(coding("19200 7E1")) // no change: nothing is sent
		p.AppSet(coding("9600 7E1"))
		b.write("three")
		synctest.Wait()
		p.AppPurge(uart.PurgeRx)
		s.take(11)
		synctest.Wait()
		got := slices.DeleteFunc(s.sentWords()[1:], func(w string) bool { return w == "settings 19200 7E?" })
		want := []string{
			"data one", "settings DTR on RTS off", "data two", "settings break on", "settings break off", "settings 9600",
			"data three", "purge rx",
		}
		if first := s.sentWords()[0]; !strings.HasPrefix(first, "settings ") {
			t.Errorf("the first entry is %q, want the whole state", first)
		}
		if !slices.Equal(got, want) {
			t.Errorf("order: got %q, want %q", got, want)
		}
		b.end()
	})
}

func TestWholeStateFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.refuse = errors.New("refused")
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		p.AppSet(coding("1200 7E2"))
		p.AppSet(lines("DTR on RTS on"))
		p.AppSet(lines("RTS off break on"))
		synctest.Wait()
		b.write("held")
		synctest.Wait()
		f.set(func() { f.refuse = nil })
		s := f.session(0)
		s.take(4)
		b.want(s, "settings 1200 7E2 DTR on RTS off", "data held")
		if got := b.status().BreaksDropped; got != 1 {
			t.Errorf("breaks dropped without a session: got %d, want 1", got)
		}
		b.end()
	})
}

func TestNoSettingThatNobodyAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		b.port().AppOpen()
		b.want(f.session(0), "settings 9600 8N1")
		b.end()
	})
}

func TestPinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		pins := bridge.Policy{Coding: uart.Coding{DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop1},
			Flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}
		b, p, s := opened(t, pins, f, 0)
		e := coding("4800 8N2")
		e.Flow = uart.Flow{Out: uart.FlowRTSCTS, In: uart.FlowRTSCTS}
		p.AppSet(e)
		b.want(s, "settings 9600 7E1 none", "settings 4800")
		b.end()
	})
}

func TestOnOpenAndLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{Linger: new(time.Second)}, f, 0)
		p := b.port()
		time.Sleep(time.Minute)
		if n, _ := f.count(); n != 0 {
			t.Fatalf("sessions before the first open: got %d, want 0", n)
		}
		for range 1000 {
			p.AppOpen()
			b.write("x")
			p.AppClose()
			time.Sleep(time.Millisecond)
		}
		s := f.session(0)
		s.take(1000)
		s.ended()
		b.want(s, "settings 9600 8N1", "data "+strings.Repeat("x", 1000), "FIN")
		if n, _ := f.count(); n != 1 {
			t.Errorf("sessions for 1000 opens: got %d, want 1", n)
		}
		p.AppOpen()
		f.session(1)
		b.end()
	})
}

// TestCameAndWent: a program that has opened, set and closed the port before Run's next step, as stty does, still gets
// its settings to the device.
func TestCameAndWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{Linger: new(time.Minute)}, f, 0)
		p := b.port()
		p.AppSet(coding("1200 7E1")) // before Run's next step
		p.AppOpen()
		p.AppClose()
		synctest.Wait()
		b.want(f.session(0), "settings 1200 7E1")
		time.Sleep(59 * time.Second)
		p.AppOpen()
		p.AppClose()
		time.Sleep(59 * time.Second) // the linger time has started again
		b.want(f.session(0), "settings 1200 7E1")
		time.Sleep(2 * time.Second)
		b.want(f.session(0), "settings 1200 7E1", "FIN")
		b.end()
	})
}

// TestCameAndWentAndDialFailed: nobody waits for that session, so one failed dial is enough.
func TestCameAndWentAndDialFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.refuse = errors.New("refused")
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		p.AppClose()
		time.Sleep(time.Hour)
		if _, dials := f.count(); dials != 1 {
			t.Errorf("%d dials, want one", dials)
		}
		b.end()
	})
}

func TestAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{Connect: bridge.ConnectAlways}, f, 0)
		s := f.session(0)
		time.Sleep(time.Hour)
		b.want(s, "settings 9600 8N1")
		b.end()
	})
}

// The bytes of echo x > /dev/ttyV0, which has closed the port before the session is up, arrive however long the dial
// takes.
func TestWrittenAndClosedBeforeTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.takes = 9 * time.Second
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		b.write("x\n")
		p.AppClose()
		s := f.session(0)
		s.ended()
		b.want(s, "settings 9600 8N1", "data x\n", "FIN")
		b.end()
	})
}

func TestLastCloseWithoutProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.dead = true
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		b.write("stuck")
		s := f.session(0)
		p.AppClose()
		time.Sleep(29 * time.Second)
		f.set(func() { s.window, s.unacked = 2, 1 }) // progress: the time starts again
		time.Sleep(29 * time.Second)
		if got := b.status(); got.UpDropped != 0 {
			t.Errorf("dropped while bytes were leaving: %d", got.UpDropped)
		}
		time.Sleep(5 * time.Second)
		got := b.status()
		if got.UpDropped != 3 || got.Opened {
			t.Errorf("30 s without progress: dropped %d, opened %v; want 3, false", got.UpDropped, got.Opened)
		}
		b.end()
	})
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		p := b.port()
		p.AppOpen()
		p.AppSet(coding("19200 7E1"))
		s := f.session(0)
		synctest.Wait()
		s.send(uart.Event{Kind: uart.KindModem, Modem: uart.CTS | uart.DSR | uart.DCD})
		if !p.AppModem(uart.CTS | uart.DSR | uart.DCD) {
			t.Fatal("the port has ended")
		}
		f.set(func() { s.window = 3; s.unacked = 2; f.refuse = errors.New("down") })
		b.write("abcdef")
		s.take(3)
		s.lose(errReset)
		if !p.AppModem(uart.DCD) { // CTS and DSR fall, DCD keeps the device's state
			t.Fatal("the port has ended")
		}
		p.AppSet(coding("300 8N1"))
		time.Sleep(time.Hour)
		f.set(func() { f.refuse = nil })
		next := f.session(1)
		next.take(3)
		b.want(next, "settings 19200 7E1", "data def", "settings 300 8N?")
		got := b.status()
		if got.Losses != 1 || got.LastLoss.Unacked != 2 || got.LastLoss.AtMost < 3 || got.UpDropped != 0 {
			t.Errorf("loss: got %+v, dropped %d; want unacked 2, at risk at least 3, dropped 0", got.LastLoss, got.UpDropped)
		}
		b.end()
	})
}

func TestDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{OnLoss: bridge.OnLossDiscard}, f, 0)
		b.port().AppOpen()
		s := f.session(0)
		synctest.Wait()
		f.set(func() { f.refuse = errors.New("down") })
		s.lose(io.EOF)
		synctest.Wait()
		b.write(strings.Repeat("gone", 100_000))
		if got := b.status().UpDropped; got != 400_000 {
			t.Errorf("dropped: got %d, want 400000", got)
		}
		f.set(func() { f.refuse = nil })
		next := f.session(1)
		synctest.Wait()
		b.write("back")
		b.want(next, "settings 9600 8N1", "data back")
		b.end()
	})
}

func TestHangup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{OnLoss: bridge.OnLossHangup}, f, 0)
		first := b.port()
		first.AppOpen()
		first.AppSet(coding("300 7E1"))
		s := f.session(0)
		synctest.Wait()
		s.lose(errReset)
		time.Sleep(time.Second) // what the port still holds is counted first; then comes the delay before the next dial
		if !first.Closed() {
			t.Fatal("the port was not hung up")
		}
		if _, err := first.AppWrite([]byte("x")); err == nil {
			t.Error("a write to a port that has vanished succeeded")
		}
		second := b.port()
		if second == first {
			t.Fatal("the port did not come back")
		}
		second.AppOpen()
		b.want(f.session(1), "settings 9600 8N1") // settings start from the default
		b.end()
	})
}

func TestPurgeDropsWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s := opened(t, bridge.Policy{}, f, 0)
		s.send(uart.Event{Kind: uart.KindSuspended})
		synctest.Wait()
		b.write("stale")
		synctest.Wait()
		p.AppSet(lines("RTS on")) // a purge drops bytes, never settings
		p.AppPurge(uart.PurgeTx)
		b.write("fresh")
		synctest.Wait()
		s.send(uart.Event{Kind: uart.KindResumed})
		s.take(5)
		b.want(s, "settings 9600 8N1", "settings RTS on", "purge tx", "data fresh")
		if got := b.status().UpDropped; got != 5 {
			t.Errorf("dropped: got %d, want 5", got)
		}
		b.end()
	})
}

// A smart meter: the ACK at 300 baud must be sent before the line changes to 9600, also if the host cannot drain.
func TestRecodeWaitsForUnsentBytes(t *testing.T) {
	cannot := uart.CarriesDrain
	ack := "ACK\r\n!" // 6 bytes of 10 bits: 200 ms at 300
	for name, tc := range map[string]struct {
		lacks uart.Fidelity
		marks bool
		text  string
		want  time.Duration
	}{
		"host that cannot drain": {cannot, false, ack, 200 * time.Millisecond},
		"host that can":          {0, false, ack, 0},
		"much more":              {cannot, false, strings.Repeat(ack, 60), 12 * time.Second},
		// The answer comes at once: the bytes may still be in the server's buffer.
		"a mark that is answered": {cannot, true, ack, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				f.noMarks = !tc.marks
				b := start(t, bridge.Policy{}, f, tc.lacks)
				p := b.port()
				p.AppOpen()
				p.AppSet(coding("300 7E1"))
				s := f.session(0)
				synctest.Wait()
				before := time.Now()
				b.write(tc.text)
				p.AppSet(coding("9600 7E1"))
				s.applied("settings 9600")
				if got := time.Since(before).Round(10 * time.Millisecond); got != tc.want {
					t.Errorf("the change was sent after %v, want %v", got, tc.want)
				}
				b.end()
			})
		})
	}
}

// RS-485 software lowers RTS when its frame is sent. If the host cannot drain, it does so too early.
func TestFallWaitsForUnsentBytes(t *testing.T) {
	for name, tc := range map[string]struct {
		lacks uart.Fidelity
		lines string
		want  time.Duration
	}{
		"RTS falls":                        {uart.CarriesDrain, "RTS off", 200 * time.Millisecond},
		"DTR falls":                        {uart.CarriesDrain, "DTR off", 200 * time.Millisecond},
		"RTS rises":                        {uart.CarriesDrain, "RTS on", 0},
		"RTS falls, on a host that drains": {0, "RTS off", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar()
				f.noMarks = true
				b := start(t, bridge.Policy{}, f, tc.lacks)
				p := b.port()
				p.AppOpen()
				p.AppSet(coding("300 7E1"))
				s := f.session(0)
				synctest.Wait()
				before := time.Now()
				b.write("frame!") // 6 bytes of 10 bits
				p.AppSet(lines(tc.lines))
				s.applied("settings " + tc.lines)
				if got := time.Since(before).Round(10 * time.Millisecond); got != tc.want {
					t.Errorf("%s was sent after %v, want %v", tc.lines, got, tc.want)
				}
				b.end()
			})
		})
	}
}

// TestRecodeAfterMuchAtAnotherSpeed: bytes that were sent at one line coding are not computed at a later one, at which
// each byte may take a thousand times as long.
func TestRecodeAfterMuchAtAnotherSpeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, uart.CarriesDrain)
		p := b.port()
		p.AppOpen()
		p.AppSet(coding("4000000 8N1"))
		s := f.session(0)
		synctest.Wait()
		b.write(strings.Repeat("x", 40000)) // 100 ms
		p.AppSet(coding("300 8N1"))
		s.applied("settings 300")
		before := time.Now()
		b.write("x") // 33 ms
		p.AppSet(coding("9600 8N1"))
		s.applied("settings 9600")
		if got := time.Since(before); got > 50*time.Millisecond {
			t.Errorf("the change was sent after %v, want the time of one byte", got)
		}
		b.end()
	})
}

func TestDrainKnowsTheFarUART(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s := opened(t, bridge.Policy{}, f, 0)
		f.set(func() { s.muteMark = true })
		before := time.Now()
		b.write(strings.Repeat("x", 960)) // 1 s at 9600 8N1
		synctest.Wait()
		go func() {
			time.Sleep(3 * time.Second)
			f.set(func() { s.answerMark(); s.muteMark = false })
		}()
		if err := p.AppDrain(); err != nil {
			t.Fatal(err)
		}
		// The answer comes late: the server is slower than its line, so what it may hold counts from that moment.
		if got := time.Since(before); got < 3*time.Second || got > 5*time.Second {
			t.Errorf("drain took %v, want 3 to 5 s", got)
		}
		b.end()
	})
}

func TestSettingNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		b.port().AppOpen()
		s := f.session(0)
		for range 10 {
			s.send(uart.Event{Kind: uart.KindRefused, Coding: uart.Coding{Baud: 12345}, Answer: "9600"})
		}
		if got := b.status().Refused; len(got) != 1 || !strings.Contains(got[0], "12345") {
			t.Errorf("refused: got %q, want one line that names 12345", got)
		}
		b.write("on")
		s.take(2)
		b.end()
	})
}

func TestDeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		b.port().AppOpen()
		s := f.session(0)
		synctest.Wait()
		b.write("lost?")
		died := time.Now()
		go func() {
			for range 20 {
				time.Sleep(time.Second)
				f.set(func() { s.peer.Waiting = time.Since(died) })
			}
		}()
		f.session(1)
		if got := time.Since(died); got > 15*time.Second {
			t.Errorf("noticed after %v, want within 15 s", got)
		}
		time.Sleep(time.Minute)
		b.end()
	})
}

func TestApplicationThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		b.port().AppOpen()
		s := f.session(0)
		for range 100 {
			s.send(make([]byte, 4096))
		}
		synctest.Wait()
		b.write("still going up")
		s.take(14)
		f.set(func() { s.peer.Ended = true })
		f.session(1) // the socket shows the end of a session that cannot be read
		b.port().AppClose()
		time.Sleep(time.Minute)
		b.end()
	})
}

func TestEndCarriesWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b, p, s := opened(t, bridge.Policy{}, f, 0)
		b.write("last words")
		b.end()
		b.want(s, "settings 9600 8N1", "data last words", "FIN")
		if !p.Retired() || !p.Closed() {
			t.Error("the port still exists")
		}
	})
}

func TestObserverCannotSlowAPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		b := start(t, bridge.Policy{}, f, 0)
		o := bridge.NewObserver(4)
		stop := b.bridge.Watch(o)
		p := b.port()
		p.AppOpen()
		for range 100 {
			b.write("x")
			synctest.Wait()
		}
		f.session(0).take(100)
		stop()
		if got := len(o.Records()); got != 4 || o.Lost() == 0 {
			t.Errorf("an observer that takes nothing: %d records, %d lost; want 4 and some", got, o.Lost())
		}
		if r := <-o.Records(); r.Direction != bridge.Up || r.Event.Kind != uart.KindOpened {
			t.Errorf("first record: got %v %v, want up opened", r.Direction, r.Event)
		}
		b.end()
	})
}

func TestPortThatCannotBeMade(t *testing.T) {
	cause := errors.New("path exists")
	b := bridge.New(bridge.Config{Remote: newFar(), Open: func(context.Context, uart.PortConfig) (uart.Port, error) { return nil, cause }})
	err := b.Run(t.Context())
	var port *bridge.PortError
	if !errors.As(err, &port) || !errors.Is(err, cause) {
		t.Errorf("got %v, want a PortError that wraps the cause", err)
	}
}

// A host gets the pinned coding: some cannot learn the application's.
func TestHostIsToldThePinnedCoding(t *testing.T) {
	want := uart.Coding{DataBits: 7, Parity: uart.ParityEven, StopBits: uart.Stop1}
	var got uart.Coding
	b := bridge.New(bridge.Config{
		Remote: newFar(), Policy: bridge.Policy{Coding: want},
		Open: func(_ context.Context, c uart.PortConfig) (uart.Port, error) {
			got = c.Pinned
			return nil, errors.New("no more is wanted of it")
		},
	})
	if err := b.Run(t.Context()); err == nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// A context that ends while the port is being created ends Run in order: a port that hung up may be created again at
// any time.
func TestEndWhileThePortIsMade(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := bridge.New(bridge.Config{Remote: newFar(), Open: func(ctx context.Context, _ uart.PortConfig) (uart.Port, error) {
		cancel()
		return nil, ctx.Err()
	}})
	if err := b.Run(ctx); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}
