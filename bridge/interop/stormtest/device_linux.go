package stormtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// nanos returns CLOCK_MONOTONIC, as in the journal.
func nanos() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every Linux has this clock
	return t.Nano()
}

// taped is one thing that a device received: bytes or an event.
type taped struct {
	at    int64
	data  []byte
	event uart.Event
}

// tape is what the device received in one session, in order.
type tape struct {
	opened int64
	all    []taped
}

// shelf holds the tapes of a round.
type shelf struct {
	mu     sync.Mutex // guards the fields below and the tapes
	tapes  []*tape
	random *rand.Rand
}

// open is accessserver.Config.Open.
func (s *shelf) open(ctx context.Context) (uart.Device, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tape{opened: nanos()}
	s.tapes = append(s.tapes, t)
	d := &device{shelf: s, tape: t, modem: uart.CTS | uart.DSR | uart.DCD, inForce: uart.Event{
		Kind: uart.KindSettings, Coding: uart.DefaultCoding(), Flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone},
		Control: uart.Control{DTR: uart.LevelOff, RTS: uart.LevelOff, Break: uart.LevelOff},
	}}
	d.changed.L = &d.mu
	d.flips = time.AfterFunc(flipEvery, d.flip)
	return d, nil
}

// flipEvery is how often DSR changes.
const flipEvery = 150 * time.Millisecond

// device is a uart.Device whose line takes no time: what it receives is on the tape at once. It replies to each record with an
// echo, and toggles DSR.
type device struct {
	shelf *shelf
	tape  *tape // guarded by the shelf's lock
	flips *time.Timer

	mu       sync.Mutex // guards the fields below
	changed  sync.Cond
	line     []byte // received and not yet a whole record
	echoes   []byte
	reported uart.ModemState // the last one that Next returned
	modem    uart.ModemState
	inForce  uart.Event
	closed   bool
}

// flip toggles DSR. Its timer runs until Close.
func (d *device) flip() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.modem ^= uart.DSR
	d.changed.Broadcast()
	d.flips.Reset(flipEvery)
}

// Next is of uart.Device, as the other exported methods.
func (d *device) Next() ([]byte, uart.Event, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case d.closed:
			return nil, uart.Event{}, uart.ErrClosed
		case d.modem != d.reported:
			d.reported = d.modem
			return nil, uart.Event{Kind: uart.KindModem, Modem: d.modem}, nil
		case len(d.echoes) > 0:
			p := d.echoes
			d.echoes = nil
			return p, uart.Event{}, nil
		}
		d.changed.Wait()
	}
}

// echoesMost is how many bytes of echoes may wait for Next; further records get no echo.
const echoesMost = 4 << 10

var recordHead = regexp.MustCompile(`\[([0-9a-f]{8})\.([0-9a-f]{6})\.[0-9a-f]{4}:[a-z]*#[0-9a-f]{8}\]\n`)

// Write records the bytes and echoes the records that they complete.
func (d *device) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, uart.ErrClosed
	}
	d.note(taped{data: append([]byte(nil), p...)})
	d.line = append(d.line, p...)
	end := 0
	for _, m := range recordHead.FindAllSubmatchIndex(d.line, -1) {
		end = m[1]
		if len(d.echoes) < echoesMost {
			d.echoes = fmt.Appendf(d.echoes, "<%s.%s>", d.line[m[2]:m[3]], d.line[m[4]:m[5]])
		}
	}
	d.line = d.line[max(end, len(d.line)-recordMost):]
	d.changed.Broadcast()
	return len(p), nil
}

// recordMost is longer than any record.
const recordMost = 5000

// note appends to the tape.
func (d *device) note(x taped) {
	x.at = nanos()
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	d.tape.all = append(d.tape.all, x)
}

// Apply records the change and applies it at once.
func (d *device) Apply(e uart.Event) (uart.Event, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return uart.Event{}, uart.ErrClosed
	}
	asked := uart.Event{Kind: uart.KindSettings, Coding: e.Coding, Flow: e.Flow, Control: e.Control}
	if asked.String() != (uart.Event{Kind: uart.KindSettings}).String() {
		d.note(taped{event: asked})
	}
	d.inForce.Coding = e.Coding.Over(d.inForce.Coding)
	d.inForce.Flow = e.Flow.Over(d.inForce.Flow)
	d.inForce.Control = e.Control.Over(d.inForce.Control)
	return d.inForce, nil
}

// Purge records the purge; PurgeRx drops the echoes that wait.
func (d *device) Purge(p uart.Purge) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p&uart.PurgeRx != 0 {
		d.echoes = nil
	}
	d.note(taped{event: uart.Event{Kind: uart.KindPurge, Purge: p}})
	return nil
}

// Modem returns the present state.
func (d *device) Modem() uart.ModemState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.modem
}

// Unsent is 0: the line takes no time.
func (d *device) Unsent() time.Duration { return 0 }

// Close ends Next.
func (d *device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.flips.Stop()
	d.changed.Broadcast()
	return nil
}
