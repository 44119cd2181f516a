package logind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

	mu       sync.Mutex // over what follows
	sleepers map[Sleeper]*told
	asleep   bool // Sleep is called, or was, and Wake not yet

	life   sync.Mutex // makes the beginnings and ends of listen one after the other; held over no Sleep and no Wake
	users  int
	cancel context.CancelFunc
	ended  chan struct{} // closed when listen has returned
}

// told is what one sleeper is told by.
type told struct {
	mu   sync.Mutex // over every Sleep and Wake of this one: who comes or goes does not wait for another's
	over bool       // Remove was called
}

// New returns a watch at the bus of this address, as D-Bus writes them; empty: the system's bus. Nothing happens before
// Add.
func New(address string) *Watch {
	return &Watch{address: address, sleepers: make(map[Sleeper]*told)}
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
	t := &told{}
	t.mu.Lock() // what comes meanwhile comes behind this Sleep
	w.mu.Lock()
	w.sleepers[s] = t
	asleep := w.asleep
	w.mu.Unlock()
	if asleep {
		s.Sleep()
	}
	t.mu.Unlock()

	w.life.Lock()
	defer w.life.Unlock()
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

// Remove ends what Add began. When it has returned s is not called any more: it waits for a Sleep or Wake of s that is under
// way, and for nobody else's. It must not be called from Sleep or Wake.
func (w *Watch) Remove(s Sleeper) {
	w.mu.Lock()
	t := w.sleepers[s]
	delete(w.sleepers, s)
	w.mu.Unlock()
	if t == nil {
		return
	}
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()

	w.life.Lock()
	defer w.life.Unlock()
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
		asleep, ok := w.heard(ctx, bus, s)
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

// heard reads a signal. ok: it is PrepareForSleep, and logind's own: anybody may send one to a connection.
func (w *Watch) heard(ctx context.Context, bus *dbus.Conn, s *dbus.Signal) (asleep, ok bool) {
	if s.Name != managerName+"."+prepare || s.Path != objectPath || dbus.Store(s.Body, &asleep) != nil {
		return false, false
	}
	name, err := owner(ctx, bus)
	return asleep, err == nil && s.Sender == name
}

// all calls Sleep or Wake of everyone, at the same time, and waits for them.
func (w *Watch) all(asleep bool) {
	w.mu.Lock()
	changed := w.asleep != asleep
	w.asleep = asleep
	var everyone map[Sleeper]*told
	if changed {
		everyone = maps.Clone(w.sleepers)
	}
	w.mu.Unlock()
	var calls sync.WaitGroup
	for s, t := range everyone {
		calls.Go(func() { t.tell(s, asleep) })
	}
	calls.Wait()
}

// tell calls Sleep or Wake, unless the sleeper was removed.
func (t *told) tell(s Sleeper, asleep bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.over:
	case asleep:
		s.Sleep()
	default:
		s.Wake()
	}
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
