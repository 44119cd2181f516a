package serialport

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

const (
	// glance is how often the driver's counters are looked at while a client has the port: it costs a system call that
	// does not reach the device.
	glance = 5 * time.Millisecond
	// stare is how often the lines themselves are looked at: a USB adapter is asked over the bus for that.
	stare = 20 * time.Millisecond
	// stopAgain is how often a write is told to stop until it does.
	stopAgain = 10 * time.Millisecond
)

var errStopped = errors.New("stopped")

// device is a uart.Device on a tty.
//
// The modem lines are looked at, on every system. Linux could tell (TIOCMIWAIT), but a thread that waits there keeps the
// device open and can be woken by nothing that is ours to do: Close would have to wait for the next edge, DTR would stay
// up and an unplugged adapter's name taken. The driver's counters lose no edge between two looks.
type device struct {
	tty   tty
	name  string
	wrote chan struct{} // one slot: watch looks at the transmitter
	done  chan struct{} // closed by Close, ends watch
	ended chan struct{} // closed by watch
	once  sync.Once
	pen   chan struct{} // one slot: who has put something in may write, or let nobody

	closed atomic.Bool
	purges atomic.Int64 // transmit purges so far: a Write that sees another number drops what it still holds

	// Next's own.
	buf, lent [4096]byte
	marks     marks
	faults    lineErrors
	rest      ordered.Received // read, and not returned yet

	mu      sync.Mutex // over everything below; never held over what may wait
	pending []uart.Event
	dropped bool       // a receive purge: Next drops what it has
	inForce uart.Event // Coding, Flow, Control, all said
	lines   uart.ModemState
	counted counts    // told so far
	writing bool      // inside tty.write
	sending bool      // something was written since the transmitter was last seen empty
	empty   time.Time // when the line has carried what was written, if nothing holds it
}

// newDevice takes over an open tty with what is in force on it.
func newDevice(name string, t tty, inForce uart.Event) *device {
	d := &device{
		tty: t, name: name, inForce: inForce,
		wrote: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}), pen: make(chan struct{}, 1),
	}
	d.lines, _ = t.modem()
	d.counted, _ = t.counts()
	d.faults.seen = d.counted
	go d.watch()
	return d
}

// Next implements uart.Device.
func (d *device) Next() ([]byte, uart.Event, error) {
	for {
		d.purged()
		if !d.rest.Empty() {
			n, e := d.rest.Next(d.lent[:])
			return d.lent[:n], e, nil
		}
		if e, ok := d.event(); ok {
			return nil, e, nil
		}
		if d.closed.Load() {
			return nil, uart.Event{}, uart.ErrClosed
		}
		n, err := d.tty.read(d.buf[:])
		p := d.buf[:n]
		d.purged()
		switch {
		case n > 0 && d.tty.traits().marks && !d.marks.clean(p):
			d.marks.decode(&d.rest, p, d.lineError)
		case n > 0:
			return p, uart.Event{}, nil
		case err != nil && !d.closed.Load():
			return nil, uart.Event{}, d.lost("read", err)
		}
	}
}

// event takes the first of what watch has seen.
func (d *device) event() (e uart.Event, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) == 0 {
		return e, false
	}
	e = d.pending[0]
	d.pending = append(d.pending[:0], d.pending[1:]...)
	return e, true
}

// purged drops what a receive purge is to drop here; it may have taken the other half of a mark.
func (d *device) purged() {
	d.mu.Lock()
	dropped := d.dropped
	d.dropped = false
	d.mu.Unlock()
	if dropped {
		d.marks = marks{}
		d.rest = ordered.Received{}
		d.faults.seen, _ = d.tty.counts() // the bytes that they are about are gone
	}
}

// lineError says what was wrong with a byte.
func (d *device) lineError(b byte) uart.LineState {
	c, ok := d.tty.counts()
	d.mu.Lock()
	parity := d.inForce.Coding.Parity
	d.mu.Unlock()
	return d.faults.what(b, c, ok, parity)
}

// lost is the error of a port that is gone.
func (d *device) lost(what string, err error) error {
	return fmt.Errorf("%s %s: %w (unplugged? the next client gets it when it is back)", what, d.name, err)
}

// Write implements uart.Device.
func (d *device) Write(p []byte) (n int, err error) {
	before := d.purges.Load()
	d.pen <- struct{}{}
	defer func() { <-d.pen }()
	if d.closed.Load() {
		return 0, uart.ErrClosed
	}
	if d.purges.Load() == before {
		d.setWriting(0, true)
		n, err = d.tty.write(p)
		d.setWriting(n, false)
	}
	switch {
	case d.closed.Load():
		return n, uart.ErrClosed
	case d.purges.Load() != before, errors.Is(err, errStopped): // or it began when a purge was already counted
		return len(p), nil
	case err != nil:
		return n, d.lost("write", err)
	}
	return n, nil
}

// setWriting notes that a write begins, or that it has ended with n bytes taken.
func (d *device) setWriting(n int, now bool) {
	d.mu.Lock()
	d.writing, d.sending = now, true
	if t := time.Now(); d.empty.Before(t) {
		d.empty = t
	}
	d.empty = d.empty.Add(d.inForce.Coding.LineTime(n))
	d.mu.Unlock()
	select {
	case d.wrote <- struct{}{}:
	default: // watch will look anyway
	}
}

// Apply implements uart.Device.
func (d *device) Apply(e uart.Event) (uart.Event, error) {
	if d.closed.Load() {
		return uart.Event{}, uart.ErrClosed
	}
	d.mu.Lock()
	before := d.inForce
	d.mu.Unlock()
	inForce, err := d.tty.apply(e, before)
	if err != nil {
		if d.closed.Load() {
			return uart.Event{}, uart.ErrClosed
		}
		return uart.Event{}, d.lost("set", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inForce = inForce
	return inForce, nil
}

// Purge implements uart.Device.
func (d *device) Purge(p uart.Purge) error {
	if p&uart.PurgeTx != 0 {
		d.purges.Add(1)
		d.takePen() // else what is being written would follow what is dropped
		defer func() {
			d.tty.resume()
			<-d.pen
		}()
	}
	if d.closed.Load() {
		return uart.ErrClosed
	}
	if err := d.tty.flush(p); err != nil {
		return d.lost("purge", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p&uart.PurgeTx != 0 {
		d.empty = time.Now()
	}
	d.dropped = d.dropped || p&uart.PurgeRx != 0
	return nil
}

// takePen stops a write and keeps the following ones from beginning.
func (d *device) takePen() {
	for {
		d.tty.stop()
		again := time.NewTimer(stopAgain)
		select {
		case d.pen <- struct{}{}:
			again.Stop()
			return
		case <-again.C:
		}
	}
}

// Modem implements uart.Device.
func (d *device) Modem() uart.ModemState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lines
}

// Unsent implements uart.Device.
func (d *device) Unsent() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unsent(time.Now())
}

// unsent asks the system, and reckons for what it does not know. Called with mu held.
func (d *device) unsent(now time.Time) time.Duration {
	n, more := d.tty.queued()
	if d.writing {
		n++
	}
	if n > 0 {
		return max(1, d.inForce.Coding.LineTime(n))
	}
	return max(0, min(d.empty.Sub(now), d.inForce.Coding.LineTime(more)))
}

// Close implements uart.Device.
func (d *device) Close() error {
	var err error
	d.once.Do(func() {
		d.closed.Store(true)
		close(d.done)
		<-d.ended
		d.takePen()
		err = d.tty.close()
		<-d.pen
	})
	<-d.ended
	return err
}

func lineEvent(s uart.LineState) uart.Event { return uart.Event{Kind: uart.KindLine, Line: s} }
