package logind

import (
	"context"
	"errors"
	"fmt"
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

// What the bus itself is called, and what it says: D-Bus Specification, part "Message Bus Messages".
const (
	busItself    = "org.freedesktop.DBus"
	ownerChanged = "NameOwnerChanged"
	noOwner      = "org.freedesktop.DBus.Error.NameHasNoOwner"
)

// patience is how long a bus or logind may take to answer.
const patience = 5 * time.Second

// How long to wait before the bus is tried again: a machine without one is asked once a minute. A bus that was there for
// restMost is tried soon.
const (
	restFirst = time.Second
	restMost  = time.Minute
)

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

// owner is the connection that is logind. It starts none that is not there.
func owner(ctx context.Context, bus *dbus.Conn) (name string, err error) {
	err = bus.BusObject().CallWithContext(ctx, busItself+".GetNameOwner", 0, busName).Store(&name)
	if err != nil {
		return "", fmt.Errorf("no logind: %w", err)
	}
	return name, nil
}

// obey does what logind says until ctx ends, over as many connections as it takes.
func (w *Watch) obey(ctx context.Context) {
	for rest := restFirst; ; rest = min(2*rest, restMost) {
		began := time.Now()
		err := w.listen(ctx)
		w.all(false) // nobody would say it any more
		if ctx.Err() != nil {
			return
		}
		w.hears(err)
		if time.Since(began) > restMost {
			rest = restFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
	}
}

// errSilent is a bus that takes connections and says nothing.
var errSilent = errors.New("no D-Bus: it does not answer")

// listen obeys logind, whoever that is at the time, until ctx ends or the bus does.
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
	h := &hearing{Watch: w, ctx: ctx, bus: bus, answers: make(chan *dbus.Call, 16)}
	defer func() { h.lock.release() }()
	if err != nil {
		w.hears(err)
	} else {
		h.owned(name)
	}
	for {
		select {
		case s, ok := <-signals:
			if !ok {
				return errors.New("the bus has ended")
			}
			h.signal(s)
		case call := <-h.answers:
			h.inhibited(call)
		}
	}
}

// hearing is one connection to the bus. One goroutine uses it.
type hearing struct {
	*Watch
	ctx     context.Context
	bus     *dbus.Conn
	owner   string          // the connection that is logind; empty: none is
	lock    *lock           // holds the sleep up; nil: none was taken
	gone    bool            // the sleep may go on: a lock would hold it up for nothing
	answers chan *dbus.Call // to Inhibit
}

// signal obeys a signal. Anybody may send one to a connection, past the filters of the bus; the sender's name is the bus's
// word.
func (h *hearing) signal(s *dbus.Signal) {
	var asleep bool
	var name, before, now string
	switch {
	case s.Name == busItself+"."+ownerChanged && s.Sender == busItself:
		if dbus.Store(s.Body, &name, &before, &now) == nil && name == busName && now != h.owner {
			h.owned(now)
		}
	case s.Name == managerName+"."+prepare && s.Path == objectPath && s.Sender == h.owner && h.owner != "":
		if dbus.Store(s.Body, &asleep) == nil {
			h.prepared(asleep)
		}
	}
}

// owned begins with another logind, or none. What the one before has said, and its lock, are void.
func (h *hearing) owned(name string) {
	if h.owner != "" {
		h.lock.release()
		h.all(false)
	}
	h.owner, h.gone = name, false
	if name == "" {
		h.hears(errors.New("no logind: it has ended"))
		return
	}
	h.inhibit()
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	defer cancel()
	var asleep bool // it may have said so before it was heard
	err := h.bus.Object(busName, objectPath).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, managerName, "PreparingForSleep").Store(&asleep)
	if err == nil && asleep {
		h.prepared(true)
	}
}

// prepared is logind's word that the machine goes to sleep, or has woken.
func (h *hearing) prepared(asleep bool) {
	h.gone = asleep
	if asleep {
		h.all(true)
		h.lock.release()
		return
	}
	h.lock.release()
	h.inhibit() // before anything wakes, so that it can hold the next sleep up
	h.all(false)
}

// inhibit takes a lock. An answer that comes later than patience is taken when it comes: it has a lock in it, which nobody
// else would let go.
func (h *hearing) inhibit() {
	h.bus.Object(busName, objectPath).GoWithContext(h.ctx, managerName+".Inhibit", 0, h.answers, "sleep", "telnetcpc",
		"serial ports and their sessions end before: else a device stays reserved, or the kernel refuses to sleep", "delay")
	select {
	case call := <-h.answers:
		h.inhibited(call)
	case <-time.After(patience):
		h.hears(fmt.Errorf("inhibit: no answer in %v", patience))
	}
}

// inhibited is logind's answer.
func (h *hearing) inhibited(call *dbus.Call) {
	var fd dbus.UnixFD
	if err := call.Store(&fd); err != nil {
		h.hears(fmt.Errorf("inhibit: %w", err)) // it is obeyed all the same, as far as it waits
		return
	}
	unix.CloseOnExec(int(fd))
	h.lock.release()
	h.lock = &lock{int(fd)}
	if h.gone {
		h.lock.release()
	}
	h.hears(nil)
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
