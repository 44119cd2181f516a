package logind_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"go.uber.org/goleak"

	"telnetcpc/bridge/testenv"
	"telnetcpc/ptyhost/logind"
	"telnetcpc/ptyhost/logind/logindtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// sleeper records its calls. Its Sleep waits for hold.
type sleeper struct {
	calls chan string
	hold  chan struct{}
}

func newSleeper() *sleeper {
	s := &sleeper{calls: make(chan string, 10), hold: make(chan struct{})}
	close(s.hold)
	return s
}

func (s *sleeper) Sleep() { s.calls <- "sleep"; <-s.hold }
func (s *sleeper) Wake()  { s.calls <- "wake" }

func (s *sleeper) wants(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-s.calls:
		if got != want {
			t.Fatalf("got the call %s, want %s", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no call %s within %v", want, patience)
	}
}

// notes is a log that a test can read.
type notes struct{ testenv.Output }

func (n *notes) logger() *slog.Logger { return slog.New(slog.NewTextHandler(n, nil)) }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	logindtest.Eventually(t, what, patience, ok)
}

// Add and Remove of one sleeper do not wait for another one's Sleep.
func TestOthersAreNotWaitedFor(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus)
	w := logind.New(bus.Address)
	slow, quick, late := newSleeper(), newSleeper(), newSleeper()
	slow.hold = make(chan struct{})
	defer w.Remove(slow)
	defer close(slow.hold)
	var log notes
	w.Add(slow, logind.Late, log.logger())
	w.Add(quick, logind.Late, log.logger())
	eventually(t, "the lock is taken", func() bool { return m.Taken() == 1 })
	m.Prepare(true)
	slow.wants(t, "sleep")
	quick.wants(t, "sleep")
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Remove(quick)
		w.Add(late, logind.Late, log.logger())
		w.Remove(late)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("one sleeper waits for another one's Sleep")
	}
	late.wants(t, "sleep")
}

// The machine sleeps after every Sleep has returned, and not before; after it has woken, the next sleep waits too.
func TestSleepWaits(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus)
	w := logind.New(bus.Address)
	if err := w.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	var log notes
	first, second := newSleeper(), newSleeper()
	second.hold = make(chan struct{})
	w.Add(first, logind.Late, log.logger())
	w.Add(second, logind.Late, log.logger())
	eventually(t, "the lock is taken", func() bool { return m.Taken() == 1 })
	m.Prepare(true)
	first.wants(t, "sleep")
	second.wants(t, "sleep")
	if got := m.Held(); got != 1 {
		t.Errorf("%d locks are held while one Sleep runs, want 1", got)
	}
	close(second.hold)
	eventually(t, "the lock is released", func() bool { return m.Held() == 0 })

	m.Prepare(true) // the machine could not sleep and tries again
	m.Prepare(false)
	first.wants(t, "wake")
	second.wants(t, "wake")
	if got := m.Held(); got != 1 {
		t.Errorf("%d locks are held after waking, want 1", got)
	}
	w.Remove(first)
	m.Prepare(true)
	second.wants(t, "sleep")
	third := newSleeper()
	w.Add(third, logind.Late, log.logger())
	third.wants(t, "sleep")
	m.Prepare(false)
	second.wants(t, "wake")
	third.wants(t, "wake")
	w.Remove(second)
	w.Remove(third)
	w.Remove(third)
	eventually(t, "the lock is released", func() bool { return m.Held() == 0 })
	if len(first.calls) > 0 {
		t.Error("a removed sleeper is called")
	}
	if log.String() != "" {
		t.Errorf("the log has: %s", log.String())
	}
}

// A signal that is not logind's is ignored.
func TestSignalOfAnother(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus)
	w := logind.New(bus.Address)
	s := newSleeper()
	var log notes
	w.Add(s, logind.Late, log.logger())
	defer w.Remove(s)
	eventually(t, "the lock is taken", func() bool { return m.Taken() == 1 })
	other, err := dbus.Connect(bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	// It goes to each connection by its name, past the match rules.
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
	// logind's own comes after it on the same bus.
	if err := other.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
	// The lock is taken again, which shows that it was heard.
	m.Prepare(false)
	eventually(t, "logind's own is heard", func() bool { return m.Taken() == 2 })
	if len(s.calls) > 0 {
		t.Errorf("call %s by another program's signal", <-s.calls)
	}
}

// Without a bus or logind a line is logged once, and nothing else happens.
func TestNoLogind(t *testing.T) {
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
			var log notes
			s := newSleeper()
			w.Add(s, logind.Late, log.logger())
			defer w.Remove(s)
			eventually(t, "the log says so", func() bool { return strings.Contains(log.String(), tt.want) })
			if got := strings.Count(log.String(), "\n"); got != 1 {
				t.Errorf("%d lines in the log: %s", got, log.String())
			}
		})
	}
	// A bus that accepts connections and never answers.
	silent := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := logind.New("unix:path=" + silent)
	s := newSleeper()
	w.Add(s, logind.Late, new(notes).logger())
	w.Remove(s)
	var log notes
	w.Add(s, logind.Late, log.logger())
	eventually(t, "the log says that the bus is silent", func() bool { return strings.Contains(log.String(), "no D-Bus: it does not answer") })
	w.Remove(s)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := w.Check(ctx); err == nil {
		t.Error("check: got nil from a silent bus")
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := logind.New(bus.Address).Check(ctx); err == nil {
		t.Error("check: got nil although its context has ended")
	}
}

// If the bus ends while the machine is asleep, Wake is called nevertheless. The bus is used again when it comes back.
func TestBusEnds(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus)
	w := logind.New(bus.Address)
	var log notes
	s := newSleeper()
	w.Add(s, logind.Late, log.logger())
	defer w.Remove(s)
	eventually(t, "the lock is taken", func() bool { return m.Taken() == 1 })
	m.Prepare(true)
	s.wants(t, "sleep")
	bus.End()
	s.wants(t, "wake")
	eventually(t, "the log says so", func() bool { return strings.Contains(log.String(), "the bus has closed the connection") })
	if got := m.Held(); got != 0 {
		t.Errorf("%d locks are held", got)
	}
	bus.Start()
	m = logindtest.NewManager(t, bus)
	eventually(t, "the lock is taken again", func() bool { return m.Held() == 1 })
	m.Prepare(true)
	s.wants(t, "sleep")
	eventually(t, "the lock is released", func() bool { return m.Held() == 0 })
	m.Prepare(false)
	s.wants(t, "wake")
	if got := strings.Count(log.String(), "\n"); got != 2 || !strings.Contains(log.String(), "announces now") {
		t.Errorf("the log has: %s", log.String())
	}
}

// A bus that starts after Add is heard, and so is a logind that starts after the bus, and the next logind.
func TestComesLater(t *testing.T) {
	bus := logindtest.NewBus(t)
	bus.End()
	w := logind.New(bus.Address)
	var log notes
	s := newSleeper()
	w.Add(s, logind.Late, log.logger())
	defer w.Remove(s)
	eventually(t, "the log says that there is no bus", func() bool { return strings.Contains(log.String(), "no D-Bus") })
	bus.Start()
	for range 2 {
		m := logindtest.NewManager(t, bus)
		eventually(t, "the lock is taken", func() bool { return m.Held() == 1 })
		m.Prepare(true)
		s.wants(t, "sleep")
		eventually(t, "the lock is released", func() bool { return m.Held() == 0 })
		m.Prepare(false)
		s.wants(t, "wake")
		eventually(t, "the lock is taken again", func() bool { return m.Held() == 1 })
		m.Prepare(true)
		s.wants(t, "sleep")
		m.End() // before it announces that the machine has woken
		s.wants(t, "wake")
	}
	// A machine that is about to sleep when logind is first heard.
	m := logindtest.NewManager(t, bus, logindtest.Asleep)
	s.wants(t, "sleep")
	eventually(t, "the lock is released", func() bool { return m.Taken() == 1 && m.Held() == 0 })
	m.Prepare(false)
	s.wants(t, "wake")
}

// A logind that answers late delays nothing, and the lock in its answer is released.
func TestAnswersLate(t *testing.T) {
	bus := logindtest.NewBus(t)
	m := logindtest.NewManager(t, bus, logindtest.Mute)
	w := logind.New(bus.Address)
	var log notes
	s := newSleeper()
	w.Add(s, logind.Late, log.logger())
	defer w.Remove(s)
	eventually(t, "the log says so", func() bool { return strings.Contains(log.String(), "inhibit: no answer") })
	m.Prepare(true)
	s.wants(t, "sleep")
	m.Unmute()
	eventually(t, "the lock of the late answer is released", func() bool { return m.Taken() == 1 && m.Held() == 0 })
	m.Prepare(false)
	s.wants(t, "wake")
	if got := m.Held(); got != 1 {
		t.Errorf("%d locks are held after waking, want 1", got)
	}
}

// Sessions have ended before a device is removed.
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
	early.wants(t, "sleep")
	if got := m.Held(); got != 1 || len(late.calls) > 0 {
		t.Errorf("while an Early one runs: %d locks are held, %d calls of the Late one; want 1 and none", got, len(late.calls))
	}
	close(early.hold)
	late.wants(t, "sleep")
	m.Prepare(false)
	early.wants(t, "wake")
	late.wants(t, "wake")
}

// Nothing is logged for a sleeper without a log; a later one with a log gets the line.
func TestLogOfALaterSleeper(t *testing.T) {
	w := logind.New("unix:path=/nonexistent/bus")
	first, second := newSleeper(), newSleeper()
	var log notes
	w.Add(first, logind.Early, nil)
	defer w.Remove(first)
	w.Add(second, logind.Late, log.logger())
	defer w.Remove(second)
	eventually(t, "the log says so", func() bool { return strings.Count(log.String(), "no D-Bus") == 1 })
}
