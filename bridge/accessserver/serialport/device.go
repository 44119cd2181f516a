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

// stopEvery is how often stop is called for a blocked write until it returns.
const stopEvery = 10 * time.Millisecond

var errStopped = errors.New("stopped")

// device is a uart.Device on a tty. newDevice starts its only goroutine, poll.
type device struct {
	name string
	tty  tty

	rx       receiver // only Next's
	counters counters // only poll's

	writeSlot chan struct{} // one slot: the goroutine that fills it may write, or keeps others from writing
	purges    atomic.Int64  // transmit purges; a Write during which it changes drops the rest of its bytes

	check  chan struct{} // one slot: poll is to check the transmitter
	closed atomic.Bool
	close  sync.Once     // the work of Close
	done   chan struct{} // closed by Close; ends poll
	ended  chan struct{} // closed by poll when it returns

	mu       sync.Mutex // guards everything below; never held during anything that may block
	pending  []uart.Event
	purgedRx bool       // a receive purge that Next has not seen yet
	inForce  uart.Event // the current Coding, Flow and Control, all set
	lines    uart.ModemState
	writing  bool      // in tty.write
	sending  bool      // something was written since the transmitter was last seen empty
	emptyAt  time.Time // when the line will have carried what was written, if nothing delays it
}

// receiver turns what a tty reads into what Next returns.
type receiver struct {
	buf, lent [4096]byte // for a read; for the bytes of decoded that Next returns
	parmrk    parmrk
	errors    lineErrors
	decoded   ordered.Received
}

// newDevice makes a device of an open tty with the current settings inForce.
func newDevice(name string, t tty, inForce uart.Event) *device {
	d := &device{
		name: name, tty: t, inForce: inForce,
		writeSlot: make(chan struct{}, 1), check: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}),
	}
	d.lines, _ = t.modem()
	d.counters.reported, _ = t.counts()
	d.rx.errors.seen = d.counters.reported
	go d.poll()
	return d
}

// Next implements uart.Device.
func (d *device) Next() ([]byte, uart.Event, error) {
	for {
		d.dropPurged()
		if !d.rx.decoded.Empty() {
			n, e := d.rx.decoded.Next(d.rx.lent[:])
			return d.rx.lent[:n], e, nil
		}
		if e, ok := d.takePending(); ok {
			return nil, e, nil
		}
		if d.closed.Load() {
			return nil, uart.Event{}, uart.ErrClosed
		}
		n, err := d.tty.read(d.rx.buf[:])
		p := d.rx.buf[:n]
		d.dropPurged()
		switch {
		case n > 0 && d.tty.traits().parmrk && !d.rx.parmrk.clean(p):
			d.rx.parmrk.decode(&d.rx.decoded, p, d.lineError)
		case n > 0:
			return p, uart.Event{}, nil
		case err != nil && !d.closed.Load():
			return nil, uart.Event{}, d.lost("read", err)
		}
	}
}

// takePending removes the first event that poll has posted.
func (d *device) takePending() (e uart.Event, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) == 0 {
		return e, false
	}
	e = d.pending[0]
	d.pending = append(d.pending[:0], d.pending[1:]...)
	return e, true
}

// dropPurged drops received bytes after a receive purge. The purge may have taken the rest of a PARMRK sequence.
func (d *device) dropPurged() {
	d.mu.Lock()
	purged := d.purgedRx
	d.purgedRx = false
	d.mu.Unlock()
	if purged {
		d.rx.parmrk = parmrk{}
		d.rx.decoded = ordered.Received{}
		d.rx.errors.seen, _ = d.tty.counts() // the bytes of the errors counted until now are gone
	}
}

// lineError returns which error byte b was received with.
func (d *device) lineError(b byte) uart.LineState {
	c, ok := d.tty.counts()
	d.mu.Lock()
	parity := d.inForce.Coding.Parity
	d.mu.Unlock()
	return d.rx.errors.classify(b, c, ok, parity)
}

// lost returns the error of a port that is gone.
func (d *device) lost(op string, err error) error {
	return fmt.Errorf("%s %s: %w (unplugged? it is opened again for the next client)", op, d.name, err)
}

// Write implements uart.Device.
func (d *device) Write(p []byte) (n int, err error) {
	before := d.purges.Load()
	d.writeSlot <- struct{}{}
	defer func() { <-d.writeSlot }()
	if d.closed.Load() {
		return 0, uart.ErrClosed
	}
	if d.purges.Load() == before {
		d.noteWrite(0, true)
		n, err = d.tty.write(p)
		d.noteWrite(n, false)
	}
	switch {
	case d.closed.Load():
		return n, uart.ErrClosed
	case d.purges.Load() != before, errors.Is(err, errStopped): // errStopped alone: the purge was counted before Write began
		return len(p), nil
	case err != nil:
		return n, d.lost("write", err)
	}
	return n, nil
}

// noteWrite records that a write begins, or that it has ended with n bytes taken.
func (d *device) noteWrite(n int, writing bool) {
	d.mu.Lock()
	d.writing, d.sending = writing, true
	if t := time.Now(); d.emptyAt.Before(t) {
		d.emptyAt = t
	}
	d.emptyAt = d.emptyAt.Add(d.inForce.Coding.LineTime(n))
	d.mu.Unlock()
	select {
	case d.check <- struct{}{}:
	default: // poll will check anyway
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
		d.stopWriting() // otherwise the rest of what is being written would be sent after the purge
		defer func() {
			d.tty.resume()
			<-d.writeSlot
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
		d.emptyAt = time.Now()
	}
	d.purgedRx = d.purgedRx || p&uart.PurgeRx != 0
	return nil
}

// stopWriting ends a write and fills writeSlot, so that no other begins.
func (d *device) stopWriting() {
	for {
		d.tty.stop()
		again := time.NewTimer(stopEvery)
		select {
		case d.writeSlot <- struct{}{}:
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

// unsent asks the system, and estimates what the system does not know. d.mu is held.
func (d *device) unsent(now time.Time) time.Duration {
	n, more := d.tty.queued()
	if d.writing {
		n++
	}
	if n > 0 {
		return max(1, d.inForce.Coding.LineTime(n))
	}
	return max(0, min(d.emptyAt.Sub(now), d.inForce.Coding.LineTime(more)))
}

// Close implements uart.Device.
func (d *device) Close() error {
	var err error
	d.close.Do(func() {
		d.closed.Store(true)
		close(d.done)
		<-d.ended
		d.stopWriting()
		err = d.tty.close()
		<-d.writeSlot
	})
	<-d.ended
	return err
}

func lineEvent(s uart.LineState) uart.Event { return uart.Event{Kind: uart.KindLine, Line: s} }
