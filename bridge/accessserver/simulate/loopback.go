// Package simulate has UARTs without hardware, each a uart.Device that takes the time its line coding implies: one with a
// loopback plug, and one with an instrument that reports the line coding. A script can inject what a device does unasked.
// It knows no server, no client and no network.
package simulate

import (
	"context"
	"sync"
	"time"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

const (
	// transmitLimit is the size of the transmit buffer in bytes. Write blocks while it is full.
	transmitLimit = 3 << 10
	// receiveLimit is the size of the receive buffer in bytes.
	receiveLimit = 4 << 10
)

// Loopback simulates a UART with a loopback plug: it receives what it sends, after the time that the line coding implies.
//
//   - RTS is wired to CTS, DTR to DSR, DCD and RI. Both are off until the client sets them; with RTS/CTS flow control
//     the UART itself keeps RTS on.
//   - A break that is sent is received: LineBreak, then a NUL byte. Nothing else is sent during a break.
//   - Bytes come back with as many bits as the coding has: 0xFF sent at 7E1 is 0x7F.
//   - CTS, DSR and DCD stop the transmitter if the flow control uses them. XON and XOFF are data: a UART with a loopback plug
//     that obeyed them would stop itself forever.
//   - While what was received is not read, the transmitter waits: the loop loses nothing. Only injected bytes, which
//     represent a device that cannot be stopped, overrun a full buffer.
//   - From 20,000,000 baud on the line takes no time.
//
// Each client gets a new UART: uart.DefaultCoding, no flow control, all lines off.
type Loopback struct {
	// Inject is what the simulated device does unasked, sorted by time, which counts from each Open. See ParseInject.
	Inject []Injection

	mu        sync.Mutex // guards observers
	observers []func(Record)
}

// Record describes one thing that a simulated UART did.
type Record struct {
	// At is the time since Open. For data it is when the last bit left.
	At time.Duration
	// Event is KindOpened, KindClosed, KindPurge, KindSettings with what was requested and done, or KindData: Data was sent.
	Event uart.Event
	// Data is what was sent, with all 8 bits whatever the coding. It is valid only during the call.
	Data []byte
	// Coding is the current line coding; for KindSettings, the new one.
	Coding uart.Coding
}

// Observe makes UARTs that are opened from now on call f with everything that they do, in order. The line stops during
// the call, so f must return soon; it must not call the UART, and must copy what it keeps of Record.Data.
func (l *Loopback) Observe(f func(Record)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.observers = append(l.observers[:len(l.observers):len(l.observers)], f)
}

// Open connects a client: it returns a new UART and starts the clock of the injections. It fails only if ctx is done.
func (l *Loopback) Open(ctx context.Context) (uart.Device, error) { return l.open(ctx, nil) }

func (l *Loopback) open(ctx context.Context, device *reporter) (uart.Device, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	observers := l.observers
	l.mu.Unlock()
	now := time.Now()
	d := &loop{
		wake:      make(chan struct{}, 1),
		done:      make(chan struct{}),
		ended:     make(chan struct{}),
		lent:      make([]byte, receiveLimit),
		opened:    now,
		tx:        lane{origin: now},
		back:      lane{origin: now},
		device:    device,
		script:    l.Inject,
		observers: observers,
		inForce: uart.Event{
			Kind:    uart.KindSettings,
			Coding:  uart.DefaultCoding(),
			Flow:    uart.Flow{Out: uart.FlowNone, In: uart.FlowNone},
			Control: uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff, Break: uart.LevelOff},
		},
	}
	d.changed.L = &d.mu
	d.record(now, uart.Event{Kind: uart.KindOpened}, nil)
	go d.run()
	return d, nil
}

// loop is one client's simulated UART; line.go moves its bytes. Open starts its only goroutine, run.
type loop struct {
	// Constant.
	opened    time.Time
	observers []func(Record)

	lent []byte // the buffer that Next returns; only Next's

	wake  chan struct{} // one slot: run is to act before its timer
	done  chan struct{} // closed by Close; ends run
	ended chan struct{} // closed by run when it returns

	mu      sync.Mutex // guards everything below, and is held while observers are called, which keeps their order
	changed sync.Cond  // something below changed that Next or Write may wait for
	inForce uart.Event // the current Coding, Flow and Control, all set
	modem   uart.ModemState
	purges  int // transmit purges; a Write during which it changes drops the rest of its bytes
	closed  bool

	// The line.
	tx     lane             // what the UART sends
	device *reporter        // at the other end of the line; nil: a loopback plug
	back   lane             // what device sends
	rx     ordered.Received // what Next has not returned yet
	script []Injection      // what has not happened yet
}

// Next implements uart.Device.
func (l *loop) Next() (p []byte, e uart.Event, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.rx.Empty() {
		if l.closed {
			return nil, uart.Event{}, uart.ErrClosed
		}
		l.changed.Wait()
	}
	full := l.rx.Len() >= receiveLimit
	n, e := l.rx.Next(l.lent)
	if full {
		l.wakeRun() // the transmitter may continue
	}
	return l.lent[:n], e, nil
}

// Write implements uart.Device.
func (l *loop) Write(p []byte) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for before := l.purges; len(p) > 0; {
		switch room := transmitLimit - len(l.tx.buf); {
		case l.closed:
			return n, uart.ErrClosed
		case l.purges != before:
			return n + len(p), nil
		case room <= 0:
			l.changed.Wait()
		default:
			room = min(room, len(p))
			l.tx.buf = append(l.tx.buf, p[:room]...)
			p = p[room:]
			n += room
			if !l.tx.moving {
				l.transmit(time.Now())
				l.wakeRun()
			}
		}
	}
	return n, nil
}

// Apply implements uart.Device.
func (l *loop) Apply(e uart.Event) (inForce uart.Event, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return uart.Event{}, uart.ErrClosed
	}
	set := uart.Event{Kind: uart.KindSettings, Coding: e.Coding, Flow: e.Flow, Control: e.Control}
	if set.String() != (uart.Event{Kind: uart.KindSettings}).String() {
		l.apply(time.Now(), set)
		l.wakeRun()
	}
	return l.inForce, nil
}

// apply changes what e sets. l.mu is held.
func (l *loop) apply(now time.Time, e uart.Event) {
	l.transmit(now) // what is due has left at the old coding
	before := l.inForce
	if coding := e.Coding.Over(before.Coding); coding != before.Coding {
		l.tx.stop(before.Coding) // the byte in the shift register is sent again from its start
		l.back.stop(before.Coding)
		l.inForce.Coding = coding
	}
	l.inForce.Flow = e.Flow.Over(before.Flow)
	l.inForce.Control = e.Control.Over(before.Control)
	l.record(now, e, nil)

	modem := l.modem
	wire := func(on, was bool, lines uart.ModemState) {
		if on && !was {
			modem |= lines
		} else if !on && was {
			modem &^= lines
		}
	}
	wire(rts(l.inForce), rts(before), uart.CTS)
	wire(l.inForce.Control.DTR == uart.LevelOn, before.Control.DTR == uart.LevelOn, uart.DSR|uart.DCD|uart.RI)
	l.setModem(modem)

	if l.device == nil && l.inForce.Control.Break == uart.LevelOn && before.Control.Break != uart.LevelOn {
		l.receive(lineEvent(uart.LineBreak), []byte{0})
	}
	l.transmit(now)
}

// rts returns the level of the RTS pin.
func rts(e uart.Event) bool {
	return e.Control.RTS == uart.LevelOn || e.Flow.In == uart.FlowRTSCTS
}

// Purge implements uart.Device.
func (l *loop) Purge(p uart.Purge) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return uart.ErrClosed
	}
	now := time.Now()
	l.transmit(now) // what is due is not purged
	if p&uart.PurgeTx != 0 {
		l.purges++
		if len(l.tx.buf) > 0 {
			l.tx.buf = l.tx.buf[:0]
			l.tx.moving = false
			l.receive(lineEvent(transmitterEmpty), nil)
		}
	}
	if p&uart.PurgeRx != 0 {
		l.rx.Drop()
		l.rx.Delete(func(e uart.Event) bool {
			return e.Line&(uart.LineParity|uart.LineFraming|uart.LineBreak) != 0 // the byte of this error is dropped
		})
	}
	l.record(now, uart.Event{Kind: uart.KindPurge, Purge: p}, nil)
	l.changed.Broadcast()
	l.wakeRun()
	return nil
}

// Modem implements uart.Device.
func (l *loop) Modem() uart.ModemState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.modem
}

// Close implements uart.Device.
func (l *loop) Close() error {
	l.mu.Lock()
	if !l.closed {
		now := time.Now()
		l.transmit(now)
		off := uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff, Break: uart.LevelOff}
		if l.inForce.Control != off {
			l.apply(now, uart.Event{Kind: uart.KindSettings, Control: off})
		}
		l.setModem(l.modem &^ uart.CTS) // flow control does not drive RTS any more
		l.closed = true
		l.record(now, uart.Event{Kind: uart.KindClosed}, nil)
		close(l.done)
		l.changed.Broadcast()
	}
	l.mu.Unlock()
	<-l.ended
	return nil
}
