// Package simulate has UARTs without hardware, each a uart.Device that takes the time its line coding implies: one with a loop
// plug, and one with an instrument that reports the line coding. A script can inject what a device does by itself. It knows no
// server, no client and no network.
package simulate

import (
	"context"
	"sync"
	"time"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/uart"
)

const (
	// transmitLimit is how many bytes of the client wait for the line before Write blocks.
	transmitLimit = 3 << 10
	// receiveLimit is how many received bytes wait for Next.
	receiveLimit = 4 << 10
)

// Loopback simulates a UART with a loop plug: what it sends comes back, after the time that its line coding implies.
//
//   - RTS is wired to CTS, DTR to DSR, DCD and RI. Both are off until the client sets them; with RTS/CTS flow control
//     the UART holds RTS on itself.
//   - A break that is sent is received: LineBreak, then a NUL byte. While it lasts nothing else is sent.
//   - Bytes come back with the bits that the coding has: 0xFF sent at 7E1 is 0x7F.
//   - CTS, DSR and DCD hold the transmitter where flow control says so. XON and XOFF are data: on a loop plug a UART
//     that obeyed them would stop itself for good.
//   - While nobody takes what was received, the transmitter waits: the loop loses nothing. Only injected bytes, which
//     stand for a device that cannot be held back, overrun a full buffer.
//   - From 20,000,000 baud on the line takes no time.
//
// Each client gets a fresh UART: DefaultCoding, no flow control, all lines off.
type Loopback struct {
	// Inject is what the simulated device does by itself, sorted by time, counted from each Open anew: see
	// ParseInject.
	Inject []Injection

	mu        sync.Mutex // over observers
	observers []func(Record)
}

// Record is one thing that a simulated UART did.
type Record struct {
	// At is when, counted from the client's connection: for data, when the last bit had left.
	At time.Duration
	// Event says what: KindOpened, KindClosed, KindSettings with what was asked for and done, KindPurge; KindData:
	// Data was sent.
	Event uart.Event
	// Data is what was sent, before the coding cut it to its data bits; valid during the call only.
	Data []byte
	// Coding is what was in force, for KindSettings from then on.
	Coding uart.Coding
}

// Observe has f called with everything that UARTs opened from now on do, in order. The line stands still during the
// call, so that f must return soon, and must not call the UART. What it does not copy of Record.Data is gone.
func (l *Loopback) Observe(f func(Record)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.observers = append(l.observers[:len(l.observers):len(l.observers)], f)
}

// Open connects a client: it returns a fresh UART and starts the clock of the injections. It fails only when ctx has
// ended.
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

// loop is one client's simulated UART; line.go moves its bytes.
type loop struct {
	wake  chan struct{} // one slot: run must look again, earlier than it meant to
	done  chan struct{} // closed by Close, ends run
	ended chan struct{} // closed by run

	lent      []byte // what Next returned; Next's own
	opened    time.Time
	observers []func(Record)

	mu      sync.Mutex // over everything below, and over the calls of observers, which keeps their order
	changed sync.Cond  // anything below changed that Next or Write may wait for

	inForce uart.Event // Coding, Flow, Control, all said
	modem   uart.ModemState
	rx      ordered.Received
	script  []Injection // what is still to come
	tx      lane        // the transmitter
	back    lane        // what the device sends
	device  *reporter   // what is at the other end of the line; nil: a loop plug
	purges  int         // transmit purges so far: a Write that sees another number drops what it still holds
	closed  bool
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
		l.look() // the transmitter may go on
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
				l.look()
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
	said := uart.Event{Kind: uart.KindSettings, Coding: e.Coding, Flow: e.Flow, Control: e.Control}
	if said.String() != (uart.Event{Kind: uart.KindSettings}).String() {
		l.apply(time.Now(), said)
		l.look()
	}
	return l.inForce, nil
}

// apply changes what e says. Called with mu held.
func (l *loop) apply(now time.Time, e uart.Event) {
	l.transmit(now) // what is due left at the coding before
	before := l.inForce
	if coding := e.Coding.Over(before.Coding); coding != before.Coding {
		l.tx.stop(before.Coding) // the byte in the shift register starts again
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

// rts is the state of the pin.
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
	l.transmit(now) // what is due has left
	if p&uart.PurgeTx != 0 {
		l.purges++
		if len(l.tx.buf) > 0 {
			l.tx.buf = l.tx.buf[:0]
			l.tx.moving = false
			l.receive(lineEvent(emptied), nil)
		}
	}
	if p&uart.PurgeRx != 0 {
		l.rx.Drop()
		l.rx.Delete(func(e uart.Event) bool {
			return e.Line&(uart.LineParity|uart.LineFraming|uart.LineBreak) != 0 // their byte is gone
		})
	}
	l.record(now, uart.Event{Kind: uart.KindPurge, Purge: p}, nil)
	l.changed.Broadcast()
	l.look()
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
		l.setModem(l.modem &^ uart.CTS) // flow control drives RTS no longer
		l.closed = true
		l.record(now, uart.Event{Kind: uart.KindClosed}, nil)
		close(l.done)
		l.changed.Broadcast()
	}
	l.mu.Unlock()
	<-l.ended
	return nil
}
