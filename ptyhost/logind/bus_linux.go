package logind

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// The names of logind: org.freedesktop.login1(5).
const (
	busName     = "org.freedesktop.login1"
	objectPath  = "/org/freedesktop/login1"
	managerName = "org.freedesktop.login1.Manager"
	prepare     = "PrepareForSleep"
)

// The names of the bus itself: D-Bus Specification, "Message Bus Messages".
const (
	busItself    = "org.freedesktop.DBus"
	ownerChanged = "NameOwnerChanged"
	noOwner      = "org.freedesktop.DBus.Error.NameHasNoOwner"
)

// patience is how long to wait for an answer of the bus or logind.
const patience = 5 * time.Second

// How long to wait before the bus is dialed again: minRest first, doubled each time up to maxRest. After a connection
// that lasted for maxRest the wait is minRest again.
const (
	minRest = time.Second
	maxRest = time.Minute
)

// Check returns nil if logind answers, else the reason in one line.
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

// owner returns the unique name of logind's connection. It does not make the bus start logind.
func owner(ctx context.Context, bus *dbus.Conn) (name string, err error) {
	err = bus.BusObject().CallWithContext(ctx, busItself+".GetNameOwner", 0, busName).Store(&name)
	if err != nil {
		return "", fmt.Errorf("no logind: %w", err)
	}
	return name, nil
}

// run follows logind's signals until ctx ends, and reconnects as often as needed.
func (w *Watch) run(ctx context.Context) {
	for rest := minRest; ; rest = min(2*rest, maxRest) {
		began := time.Now()
		err := w.listen(ctx)
		w.setAsleep(false) // no signal would report it any more
		if ctx.Err() != nil {
			return
		}
		w.setTrouble(err)
		if time.Since(began) > maxRest {
			rest = minRest
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
	}
}

// errSilent means that the bus accepts connections but does not answer.
var errSilent = errors.New("no D-Bus: it does not answer")

// listen follows logind's signals on one connection, whichever process is logind, until ctx or the connection ends.
func (w *Watch) listen(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer func() {
		if context.Cause(ctx) == errSilent {
			err = errSilent
		}
	}()
	bus, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	signals := make(chan *dbus.Signal, 8)
	bus.Signal(signals)
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busItself), dbus.WithMatchInterface(busItself), dbus.WithMatchMember(ownerChanged), dbus.WithMatchArg(0, busName)},
		{dbus.WithMatchSender(busName), dbus.WithMatchObjectPath(objectPath), dbus.WithMatchInterface(managerName), dbus.WithMatchMember(prepare)},
	} {
		if err := bus.AddMatchSignalContext(ctx, match...); err != nil {
			return fmt.Errorf("no D-Bus: %w", err)
		}
	}
	name, err := owner(ctx, bus)
	var refused dbus.Error
	if err != nil && (!errors.As(err, &refused) || refused.Name != noOwner) {
		return err
	}
	if !slow.Stop() {
		return errSilent
	}
	c := &connection{Watch: w, ctx: ctx, bus: bus, answers: make(chan *dbus.Call, 16)}
	defer func() { c.lock.release() }()
	if err != nil {
		w.setTrouble(err)
	} else {
		c.newOwner(name)
	}
	for {
		select {
		case s, ok := <-signals:
			if !ok {
				return errors.New("the bus has closed the connection")
			}
			c.signal(s)
		case call := <-c.answers:
			c.inhibited(call)
		}
	}
}

// connection is the state of one connection to the bus. Only listen's goroutine uses it.
type connection struct {
	*Watch
	ctx     context.Context
	bus     *dbus.Conn
	owner   string          // unique name of logind's connection; empty: there is no logind
	lock    *lock           // delays the sleep; nil: none was taken
	done    bool            // every Sleep has returned and the machine may sleep: a new lock would only delay it
	answers chan *dbus.Call // to Inhibit
}

// signal handles a signal. Any program may send one directly to a connection, past its match rules, but the bus sets the sender.
func (c *connection) signal(s *dbus.Signal) {
	var asleep bool
	var name, before, now string
	switch {
	case s.Name == busItself+"."+ownerChanged && s.Sender == busItself:
		if dbus.Store(s.Body, &name, &before, &now) == nil && name == busName && now != c.owner {
			c.newOwner(now)
		}
	case s.Name == managerName+"."+prepare && s.Path == objectPath && s.Sender == c.owner && c.owner != "":
		if dbus.Store(s.Body, &asleep) == nil {
			c.prepared(asleep)
		}
	}
}

// newOwner handles a new logind process, or the end of the last one: the previous one's lock and signals are void.
func (c *connection) newOwner(name string) {
	if c.owner != "" {
		c.lock.release()
		c.setAsleep(false)
	}
	c.owner, c.done = name, false
	if name == "" {
		c.setTrouble(errors.New("no logind: it has ended"))
		return
	}
	c.inhibit()
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	var asleep bool // the signal may have been sent before we listened
	err := c.bus.Object(busName, objectPath).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, managerName, "PreparingForSleep").Store(&asleep)
	if err == nil && asleep {
		c.prepared(true)
	}
}

// prepared handles PrepareForSleep: the machine is about to sleep, or has woken.
func (c *connection) prepared(asleep bool) {
	c.done = asleep
	if asleep {
		c.setAsleep(true)
		c.lock.release()
		return
	}
	c.lock.release()
	c.inhibit() // before anything wakes, so that it can delay the next sleep
	c.setAsleep(false)
}

// inhibit takes a lock. An answer that arrives after patience is handled by listen: it contains a lock, which must be
// released.
func (c *connection) inhibit() {
	c.bus.Object(busName, objectPath).GoWithContext(c.ctx, managerName+".Inhibit", 0, c.answers, "sleep", "telnetcpc",
		"serial ports and their sessions must end first, or a device stays reserved and the kernel may refuse to sleep", "delay")
	select {
	case call := <-c.answers:
		c.inhibited(call)
	case <-time.After(patience):
		c.setTrouble(fmt.Errorf("inhibit: no answer within %v", patience))
	}
}

// inhibited handles logind's answer to Inhibit.
func (c *connection) inhibited(call *dbus.Call) {
	var fd dbus.UnixFD
	if err := call.Store(&fd); err != nil {
		c.setTrouble(fmt.Errorf("inhibit: %w", err)) // Sleep is called nevertheless, but nothing delays the sleep
		return
	}
	unix.CloseOnExec(int(fd))
	c.lock.release()
	c.lock = &lock{int(fd)}
	if c.done {
		c.lock.release()
	}
	c.setTrouble(nil)
}

// lock delays the sleep while its descriptor is open.
type lock struct{ fd int }

// release closes it. Idempotent.
func (l *lock) release() {
	if l != nil && l.fd >= 0 {
		_ = unix.Close(l.fd)
		l.fd = -1
	}
}
