package logind_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"go.uber.org/goleak"

	"telnetcpc/ptyhost/logind"
	"telnetcpc/ptyhost/logind/logindtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// sleeper writes down what it is told. Its Sleep waits for hold.
type sleeper struct {
	said chan string
	hold chan struct{}
}

func newSleeper() *sleeper {
	s := &sleeper{said: make(chan string, 10), hold: make(chan struct{})}
	close(s.hold)
	return s
}

func (s *sleeper) Sleep() { s.said <- "sleep"; <-s.hold }
func (s *sleeper) Wake()  { s.said <- "wake" }

func (s *sleeper) hears(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-s.said:
		if got != want {
			t.Fatalf("told to %s, want %s", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("not told to %s in %v", want, patience)
	}
}

// notes is a log, for a test to read.
type notes struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.String()
}

func (n *notes) log() *slog.Logger { return slog.New(slog.NewTextHandler(n, nil)) }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	logindtest.Eventually(t, what, patience, ok)
}

// Who has no more to do with it waits for nobody else: not who goes, not who comes.
func TestOthersAreNotWaitedFor(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus)
	w := logind.New(bus.Address)
	slow, quick, late := newSleeper(), newSleeper(), newSleeper()
	slow.hold = make(chan struct{})
	defer w.Remove(slow)
	defer close(slow.hold)
	var said notes
	w.Add(slow, logind.Late, said.log())
	w.Add(quick, logind.Late, said.log())
	eventually(t, "the lock is taken", func() bool { return m.Taken() == 1 })
	m.Prepare(true)
	slow.hears(t, "sleep")
	quick.hears(t, "sleep")
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Remove(quick)
		w.Add(late, logind.Late, said.log())
		w.Remove(late)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("one sleeper waits for another one's Sleep")
	}
	late.hears(t, "sleep")
}

// The machine sleeps when everyone has done what it must, and not before; when it has woken, the next sleep waits too.
func TestSleepWaits(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus)
	w := logind.New(bus.Address)
	if err := w.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	var said notes
	first, second := newSleeper(), newSleeper()
	second.hold = make(chan struct{})
	w.Add(first, logind.Late, said.log())
	w.Add(second, logind.Late, said.log())
	eventually(t, "the lock is taken", func() bool { return m.Taken() == 1 })
	m.Prepare(true)
	first.hears(t, "sleep")
	second.hears(t, "sleep")
	if got := m.Held(); got != 1 {
		t.Errorf("%d locks are held while one is busy, want 1", got)
	}
	close(second.hold)
	eventually(t, "the lock is let go", func() bool { return m.Held() == 0 })

	m.Prepare(true) // a machine that could not sleep and tries again
	m.Prepare(false)
	first.hears(t, "wake")
	second.hears(t, "wake")
	if got := m.Held(); got != 1 {
		t.Errorf("%d locks are held by who has woken, want 1", got)
	}
	w.Remove(first)
	m.Prepare(true)
	second.hears(t, "sleep")
	third := newSleeper()
	w.Add(third, logind.Late, said.log())
	third.hears(t, "sleep")
	m.Prepare(false)
	second.hears(t, "wake")
	third.hears(t, "wake")
	w.Remove(second)
	w.Remove(third)
	w.Remove(third)
	eventually(t, "the lock is let go", func() bool { return m.Held() == 0 })
	if len(first.said) > 0 {
		t.Error("who was removed is told")
	}
	if said.String() != "" {
		t.Errorf("the log has: %s", said.String())
	}
}

// A signal that is not logind's is nobody's business.
func TestSignalOfAnother(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus)
	w := logind.New(bus.Address)
	s := newSleeper()
	var said notes
	w.Add(s, logind.Late, said.log())
	defer w.Remove(s)
	eventually(t, "the lock is taken", func() bool { return m.Taken() == 1 })
	other, err := dbus.Connect(bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	// To each connection by its name, past the filters of the bus.
	var names []string
	if err := other.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, name := range names {
		if strings.HasPrefix(name, ":") {
			sent++
			msg := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldInterface:   dbus.MakeVariant("org.freedesktop.login1.Manager"),
				dbus.FieldMember:      dbus.MakeVariant("PrepareForSleep"),
				dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/login1")),
				dbus.FieldDestination: dbus.MakeVariant(name),
				dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(true)),
			}, Body: []any{true}}
			other.Send(msg, nil)
		}
	}
	if sent < 3 {
		t.Fatalf("only %d connections on the bus", sent)
	}
	// Behind it on the same bus comes logind's own.
	if err := other.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
	// It shows that it was heard: the lock is taken anew.
	m.Prepare(false)
	eventually(t, "logind's own is heard", func() bool { return m.Taken() == 2 })
	if len(s.said) > 0 {
		t.Errorf("told to %s by somebody", <-s.said)
	}
}

// Where there is no bus, no logind, or none any more, it is said once, and nothing else happens.
func TestNobodyToHear(t *testing.T) {
	bus := logindtest.NewBus(t)
	for _, tt := range []struct{ name, address, want string }{
		{"no bus", "unix:path=/nonexistent/bus", "no D-Bus: dial unix /nonexistent/bus: connect: no such file or directory"},
		{"bad address", "nonsense", "no D-Bus: "},
		{"no logind", bus.Address, "no logind: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := logind.New(tt.address)
			if err := w.Check(t.Context()); err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("check: got %v, want %s", err, tt.want)
			}
			var said notes
			s := newSleeper()
			w.Add(s, logind.Late, said.log())
			defer w.Remove(s)
			eventually(t, "the log says so", func() bool { return strings.Contains(said.String(), tt.want) })
			if got := strings.Count(said.String(), "\n"); got != 1 {
				t.Errorf("%d lines in the log: %s", got, said.String())
			}
		})
	}
	// One that takes calls and never answers.
	silent := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := logind.New("unix:path=" + silent)
	s := newSleeper()
	w.Add(s, logind.Late, new(notes).log())
	w.Remove(s)
	var said notes
	w.Add(s, logind.Late, said.log())
	eventually(t, "the log says that the bus is silent", func() bool { return strings.Contains(said.String(), "no D-Bus: it does not answer") })
	w.Remove(s)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := w.Check(ctx); err == nil {
		t.Error("check: got nil of a bus that is silent")
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := logind.New(bus.Address).Check(ctx); err == nil {
		t.Error("check: got nil though its context has ended")
	}
}

// A bus that ends while the machine is asleep must not leave anybody asleep. It is heard again when it comes back.
func TestBusEnds(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus)
	w := logind.New(bus.Address)
	var said notes
	s := newSleeper()
	w.Add(s, logind.Late, said.log())
	defer w.Remove(s)
	eventually(t, "the lock is taken", func() bool { return m.Taken() == 1 })
	m.Prepare(true)
	s.hears(t, "sleep")
	bus.End()
	s.hears(t, "wake")
	eventually(t, "the log says so", func() bool { return strings.Contains(said.String(), "the bus has ended") })
	if got := m.Held(); got != 0 {
		t.Errorf("%d locks are held", got)
	}
	bus.Start()
	m = logindtest.NewManager(t, bus)
	eventually(t, "the lock is taken again", func() bool { return m.Held() == 1 })
	m.Prepare(true)
	s.hears(t, "sleep")
	eventually(t, "the lock is let go", func() bool { return m.Held() == 0 })
	m.Prepare(false)
	s.hears(t, "wake")
	if got := strings.Count(said.String(), "\n"); got != 2 || !strings.Contains(said.String(), "says now") {
		t.Errorf("the log has: %s", said.String())
	}
}

// A bus that comes after who wants to hear it, and a logind that comes after the bus, are heard; so is the next one.
func TestComesLater(t *testing.T) {
	bus := logindtest.NewBus(t)
	bus.End()
	w := logind.New(bus.Address)
	var said notes
	s := newSleeper()
	w.Add(s, logind.Late, said.log())
	defer w.Remove(s)
	eventually(t, "the log says that there is no bus", func() bool { return strings.Contains(said.String(), "no D-Bus") })
	bus.Start()
	for range 2 {
		m := logindtest.NewManager(t, bus)
		eventually(t, "the lock is taken", func() bool { return m.Held() == 1 })
		m.Prepare(true)
		s.hears(t, "sleep")
		eventually(t, "the lock is let go", func() bool { return m.Held() == 0 })
		m.Prepare(false)
		s.hears(t, "wake")
		eventually(t, "the lock is taken again", func() bool { return m.Held() == 1 })
		m.Prepare(true)
		s.hears(t, "sleep")
		m.End() // before it says that the machine has woken
		s.hears(t, "wake")
	}
	// One that is about to sleep when it is first heard.
	m := logindtest.NewManager(t, bus, logindtest.Asleep)
	s.hears(t, "sleep")
	eventually(t, "the lock is let go", func() bool { return m.Taken() == 1 && m.Held() == 0 })
	m.Prepare(false)
	s.hears(t, "wake")
}

// A logind that answers late holds nothing up, and the lock in its answer is not lost.
func TestAnswersLate(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus, logindtest.Mute)
	w := logind.New(bus.Address)
	var said notes
	s := newSleeper()
	w.Add(s, logind.Late, said.log())
	defer w.Remove(s)
	eventually(t, "the log says so", func() bool { return strings.Contains(said.String(), "inhibit: no answer") })
	m.Prepare(true)
	s.hears(t, "sleep")
	m.Speak()
	eventually(t, "the lock of the late answer is let go", func() bool { return m.Taken() == 1 && m.Held() == 0 })
	m.Prepare(false)
	s.hears(t, "wake")
	if got := m.Held(); got != 1 {
		t.Errorf("%d locks are held by who has woken, want 1", got)
	}
}

// Who ends sessions has ended them before a device is taken away.
func TestOrder(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus)
	w := logind.New(bus.Address)
	early, late := newSleeper(), newSleeper()
	early.hold = make(chan struct{})
	w.Add(late, logind.Late, nil)
	defer w.Remove(late)
	w.Add(early, logind.Early, nil)
	defer w.Remove(early)
	eventually(t, "the lock is taken", func() bool { return m.Taken() == 1 })
	m.Prepare(true)
	early.hears(t, "sleep")
	if got := m.Held(); got != 1 || len(late.said) > 0 {
		t.Errorf("while an early one is busy: %d locks are held, %d late ones told; want 1 and none", got, len(late.said))
	}
	close(early.hold)
	late.hears(t, "sleep")
	m.Prepare(false)
	early.hears(t, "wake")
	late.hears(t, "wake")
}

// To whom it does not matter nothing is said; who comes later and cares is told.
func TestWhomItMatters(t *testing.T) {
	w := logind.New("unix:path=/nonexistent/bus")
	first, second := newSleeper(), newSleeper()
	var said notes
	w.Add(first, logind.Early, nil)
	defer w.Remove(first)
	w.Add(second, logind.Late, said.log())
	defer w.Remove(second)
	eventually(t, "the log says so", func() bool { return strings.Count(said.String(), "no D-Bus") == 1 })
}
