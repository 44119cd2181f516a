package logind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// What logind is called: org.freedesktop.login1(5).
const (
	busName     = "org.freedesktop.login1"
	objectPath  = "/org/freedesktop/login1"
	managerName = "org.freedesktop.login1.Manager"
	prepare     = "PrepareForSleep"
)

// patience is how long a bus may take to answer.
const patience = 5 * time.Second

// Sleeper is who has something to do before the machine sleeps.
type Sleeper interface {
	// Sleep is called before the machine sleeps, which waits until it returns.
	Sleep()
	// Wake is called when it has woken, or has not slept after all.
	Wake()
}

// Watch hears of the machine's sleep as long as somebody wants to know. Any goroutine may use it.
type Watch struct {
	address string

	mu       sync.Mutex // over what follows, and over every Sleep and Wake
	sleepers map[Sleeper]struct{}
	asleep   bool // Sleep was called, and Wake not yet

	life   sync.Mutex // makes Add and Remove one after the other; taken before mu
	users  int
	cancel context.CancelFunc
	ended  chan struct{} // closed when listen has returned
}

// New returns a watch at the bus of this address, as D-Bus writes them; empty: the system's bus. Nothing happens before
// Add.
func New(address string) *Watch {
	return &Watch{address: address, sleepers: make(map[Sleeper]struct{})}
}

// Check is nil where logind answers, else the reason in one line.
func (w *Watch) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	bus, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	_, err = owner(ctx, bus)
	return err
}

// Add has s told of sleep until Remove. It does not wait for the bus; that nothing can be heard goes to the log of the
// first who is added. Where the machine is on its way to sleep Sleep is called at once.
func (w *Watch) Add(s Sleeper, log *slog.Logger) {
	w.life.Lock()
	defer w.life.Unlock()
	w.mu.Lock()
	w.sleepers[s] = struct{}{}
	if w.asleep {
		s.Sleep()
	}
	w.mu.Unlock()
	if w.users++; w.users > 1 {
		return
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	w.ended = make(chan struct{})
	go func(ended chan struct{}) { // until the last Remove, or the end of the bus
		defer close(ended)
		if err := w.listen(ctx); err != nil && ctx.Err() == nil {
			log.Info("logind does not say when this machine goes to sleep", "err", err)
		}
	}(w.ended)
}

// Remove ends what Add began. When it has returned s is not called any more. It must not be called from Sleep or Wake.
func (w *Watch) Remove(s Sleeper) {
	w.life.Lock()
	defer w.life.Unlock()
	w.mu.Lock()
	_, known := w.sleepers[s]
	delete(w.sleepers, s)
	w.mu.Unlock()
	if !known {
		return
	}
	if w.users--; w.users == 0 {
		w.cancel()
		<-w.ended
	}
}

// connect returns a connection that ends with ctx.
func (w *Watch) connect(ctx context.Context) (*dbus.Conn, error) {
	options := []dbus.ConnOption{dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler())}
	var bus *dbus.Conn
	var err error
	if w.address == "" {
		bus, err = dbus.ConnectSystemBus(options...)
	} else {
		bus, err = dbus.Connect(w.address, options...)
	}
	if err != nil {
		return nil, fmt.Errorf("no D-Bus: %w", err)
	}
	return bus, nil
}

// owner is the connection that is logind.
func owner(ctx context.Context, bus *dbus.Conn) (name string, err error) {
	err = bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, busName).Store(&name)
	if err != nil {
		return "", fmt.Errorf("no logind: %w", err)
	}
	return name, nil
}

// listen obeys logind until ctx ends or the bus does.
func (w *Watch) listen(ctx context.Context) error {
	bus, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	signals := make(chan *dbus.Signal, 8)
	bus.Signal(signals)
	if _, err := owner(ctx, bus); err != nil {
		return err
	}
	if err := bus.AddMatchSignalContext(ctx, dbus.WithMatchSender(busName), dbus.WithMatchObjectPath(objectPath),
		dbus.WithMatchInterface(managerName), dbus.WithMatchMember(prepare)); err != nil {
		return fmt.Errorf("%s: %w", prepare, err)
	}
	lock, err := inhibit(ctx, bus)
	if err != nil {
		return err
	}
	defer func() { lock.release() }()
	for s := range signals {
		asleep, ok := w.told(ctx, bus, s)
		if !ok {
			continue
		}
		if asleep {
			w.all(true)
			lock.release()
			continue
		}
		lock.release()
		// Before anything wakes, so that it can hold the next sleep up.
		if lock, err = inhibit(ctx, bus); err != nil {
			w.all(false)
			return err
		}
		w.all(false)
	}
	w.all(false) // nobody would say it any more
	return errors.New("the bus has ended")
}

// told reads a signal. ok: it is PrepareForSleep, and logind's own: anybody may send one to a connection.
func (w *Watch) told(ctx context.Context, bus *dbus.Conn, s *dbus.Signal) (asleep, ok bool) {
	if s.Name != managerName+"."+prepare || s.Path != objectPath || dbus.Store(s.Body, &asleep) != nil {
		return false, false
	}
	name, err := owner(ctx, bus)
	return asleep, err == nil && s.Sender == name
}

// all calls Sleep or Wake of everyone, at the same time, and waits for them.
func (w *Watch) all(asleep bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asleep == asleep {
		return
	}
	w.asleep = asleep
	var calls sync.WaitGroup
	for s := range w.sleepers {
		if asleep {
			calls.Go(s.Sleep)
		} else {
			calls.Go(s.Wake)
		}
	}
	calls.Wait()
}

// lock holds the sleep up while it is open.
type lock struct{ fd int }

// release lets the sleep go on. Idempotent.
func (l *lock) release() {
	if l != nil && l.fd >= 0 {
		_ = unix.Close(l.fd)
		l.fd = -1
	}
}

// inhibit takes a lock.
func inhibit(ctx context.Context, bus *dbus.Conn) (*lock, error) {
	var fd dbus.UnixFD
	err := bus.Object(busName, objectPath).CallWithContext(ctx, managerName+".Inhibit", 0,
		"sleep", "telnetcpc", "serial ports are unplugged before, else the kernel refuses to sleep", "delay").Store(&fd)
	if err != nil {
		return nil, fmt.Errorf("inhibit: %w", err)
	}
	unix.CloseOnExec(int(fd))
	return &lock{int(fd)}, nil
}
