// Package wincomtest is a model of a com0com pair, for tests on every system. It replaces the driver below wincom.Device:
// what it returns, its records, queues and pins are those that were measured on com0com 3.0. A test plays the program on
// the application's end through Application. Its callers are the tests of wincom and cmd/telnetcpc; it must not know the
// port that uses the agent's end.
//
// It is simpler than the driver: one lock, no timeout except that of a read, no XON/XOFF and no handshakes. That a purge
// discards the 14 bytes which a writer can hand over while nobody has the other end open is an assumption.
package wincomtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"telnetcpc/bridge/uart"
	"telnetcpc/wincom"
)

// Errors of the model: Windows' ERROR_INVALID_PARAMETER and ERROR_INSUFFICIENT_BUFFER.
var (
	ErrInvalid = errors.New("the parameter is incorrect")
	ErrSmall   = errors.New("the data area passed to a system call is too small")
)

// Caps are the options of com0com 2.2 and newer. OldCaps are those of 2.1, which does not report the end of a break.
const (
	Caps    = wincom.InsertGet | wincom.InsertClear | wincom.InsertAll
	OldCaps = Caps &^ wincom.InsertBreakOff
)

const (
	firstQueue = 4096 // room for received bytes at an open
	fifo       = 14   // bytes that a writer can hand over while nobody has the other end open
)

// Pair is one pair. Set its fields before using it.
type Pair struct {
	Ends wincom.Ends // what Find returns, and the pins that the model obeys

	Caps          uint32 // the driver's options; 0: it does not have the extension
	RefusesInsert bool   // without the extension it does not have the plain request either, like Wine's own ports
	EmuOverrun    bool   // the agent's end drops what does not fit
	CheckErr      error  // what Check returns
	Foreign       bool   // Find reports the application's end as another driver's; Open accepts its name for the agent's end

	MaxRead int // the most that one read of the agent's end returns; 0: no limit

	mu          sync.Mutex // guards everything below
	changed     *sync.Cond // broadcast after every change that may end a wait
	application end
	agent       end
}

// NewPair returns a pair with the pins that telnetcpc sets. The ends are as after loading the driver, except that the
// application's is at 9600 8N1 from a previous program.
func NewPair(application, agent string) *Pair {
	p := &Pair{Caps: Caps, Ends: wincom.Ends{
		Application: application, ApplicationID: "CNCA0", ApplicationPins: wincom.ApplicationPins(),
		Agent: agent, AgentID: "CNCB0", AgentPins: wincom.AgentPins(),
	}}
	p.changed = sync.NewCond(&p.mu)
	for _, e := range []*end{&p.application, &p.agent} {
		*e = end{pair: p, baud: 1200, line: [3]byte{0, 2, 7}, xon: 0x11, xoff: 0x13, raises: wincom.OutDTR | wincom.OutRTS, mcr: wincom.OutOUT2}
	}
	p.application.peer, p.agent.peer = &p.agent, &p.application
	p.application.baud, p.application.line = 9600, [3]byte{0, 0, 8}
	return p
}

var _ wincom.System = (*Pair)(nil)

// Check implements wincom.System.
func (p *Pair) Check() error { return p.CheckErr }

// Find implements wincom.System.
func (p *Pair) Find(name string) (wincom.Ends, error) {
	if !strings.EqualFold(name, p.Ends.Application) {
		return wincom.Ends{}, fmt.Errorf("%s: %w", name, wincom.ErrNoPair)
	}
	if p.Foreign {
		return wincom.Ends{}, &wincom.NotPairError{Name: name, Device: `\Device\Serial0`}
	}
	return p.Ends, nil
}

// Open implements wincom.System: the agent's end.
func (p *Pair) Open(name string) (wincom.Device, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case name != p.Ends.Agent && !(p.Foreign && name == p.Ends.Application):
		return nil, wincom.ErrNoDevice
	case p.agent.open:
		return nil, wincom.ErrBusy
	}
	p.agent.pins, p.application.pins = p.Ends.AgentPins, p.Ends.ApplicationPins
	p.agent.drops = p.EmuOverrun
	p.agent.opens()
	return &agent{end: &p.agent}, nil
}

// end is one end of the pair.
type end struct {
	pair  *Pair
	peer  *end
	pins  wincom.Pins
	drops bool

	open    bool
	baud    uint32
	line    [3]byte // stop bits, parity, word length
	xon     byte
	xoff    byte
	raises  wincom.Output // what an open raises
	mcr     wincom.Output
	status  uart.ModemState
	inBreak bool // this end sends a break

	received []byte // not read yet
	size     int    // of received
	sent     []byte // handed over while nobody has the peer open
	errors   uint32
	escape   byte // 0: nothing is inserted
	inserts  uint32
}

// opens is an open of the end. Pair.mu is held, as in all methods of end.
func (e *end) opens() {
	e.open, e.size, e.received, e.errors = true, firstQueue, nil, 0
	e.setOutputs(e.raises, wincom.OutDTR|wincom.OutRTS)
	e.updateInputs()
	e.peer.updateInputs()
	for _, c := range e.peer.sent {
		e.receive(c)
	}
	e.peer.sent = nil
	e.pair.changed.Broadcast()
}

func (e *end) closes() {
	e.open, e.escape, e.inserts, e.received = false, 0, 0, nil
	e.setBreak(false)
	e.mcr = wincom.OutOUT2
	e.updateInputs()
	e.peer.updateInputs()
	e.pair.changed.Broadcast()
}

func (e *end) setOutputs(value, mask wincom.Output) {
	e.mcr = e.mcr&^mask | value&mask
	e.peer.updateInputs()
	e.updateInputs()
}

// updateInputs computes the inputs and inserts a record if they have changed.
func (e *end) updateInputs() {
	var now uart.ModemState
	for line, pin := range map[uart.ModemState]wincom.Pin{
		uart.CTS: e.pins.CTS, uart.DSR: e.pins.DSR, uart.DCD: e.pins.DCD, uart.RI: e.pins.RI,
	} {
		on := pin&wincom.PinOn != 0 || pin&e.peer.drives() != 0 || pin&(e.drives()<<8) != 0
		if on != (pin&wincom.PinNot != 0) {
			now |= line
		}
	}
	if now == e.status {
		return
	}
	delta := now ^ e.status
	e.status = now
	e.insert(wincom.InsertModemStatus, 3, byte(now|delta>>4))
	e.pair.changed.Broadcast()
}

// drives returns what the end drives, as a Pin of the other end.
func (e *end) drives() (p wincom.Pin) {
	for o, pin := range map[wincom.Output]wincom.Pin{
		wincom.OutRTS: wincom.PinRRTS, wincom.OutDTR: wincom.PinRDTR, wincom.OutOUT1: wincom.PinROUT1, wincom.OutOUT2: wincom.PinROUT2,
	} {
		if e.mcr&o != 0 {
			p |= pin
		}
	}
	if e.open {
		p |= wincom.PinROPEN
	}
	return p
}

// insert adds a record to the queue if that kind is enabled. If it does not fit it is lost.
func (e *end) insert(kind uint32, record ...byte) {
	if e.escape == 0 || e.inserts&kind == 0 {
		return
	}
	if len(e.received)+1+len(record) > e.size {
		e.errors |= wincom.ErrorQueueOverrun
		return
	}
	e.received = append(append(e.received, e.escape), record...)
	e.pair.changed.Broadcast()
}

// receive adds a byte to the queue, masked to the shorter word length of the two ends.
func (e *end) receive(c byte) {
	c &= 0xFF >> (8 - min(e.line[2], e.peer.line[2]))
	e.received = append(e.received, c)
	if e.escape != 0 && c == e.escape {
		e.received = append(e.received, 0)
	}
}

func (e *end) setBaud(baud uint32) {
	if e.baud != baud {
		e.baud = baud
		e.peer.insert(wincom.InsertBaud, binary.LittleEndian.AppendUint32([]byte{0x10}, baud)...)
	}
}

func (e *end) setLine(line [3]byte) error {
	if line[0] > 2 || line[1] > 4 || line[2] < 5 || line[2] > 8 {
		return ErrInvalid
	}
	if e.line != line {
		e.line = line
		e.peer.insert(wincom.InsertLineControl, 0x11, line[2], line[1], line[0])
	}
	return nil
}

func (e *end) setBreak(on bool) {
	if e.inBreak == on {
		return
	}
	e.inBreak = on
	switch {
	case !e.peer.open:
	case on && e.peer.escape != 0 && e.peer.inserts&(wincom.InsertLineStatus|wincom.InsertBreakOff) != 0:
		e.peer.errors |= wincom.ErrorBreak
		e.peer.insert(wincom.InsertLineStatus|wincom.InsertBreakOff, 1, 0xf9, 0)
	case on:
		e.peer.errors |= wincom.ErrorBreak | wincom.ErrorFraming
		e.peer.receive(0)
	default:
		e.peer.insert(wincom.InsertBreakOff, 2, 0x60)
	}
	e.pair.changed.Broadcast()
}

// write hands bytes to the peer until all are taken or stop returns an error.
func (e *end) write(p []byte, stop func() error) (n int, err error) {
	for {
		if err := stop(); err != nil {
			return n, err
		}
		for n < len(p) && !e.inBreak {
			switch r := e.peer; {
			case !r.open && len(e.sent) < fifo:
				e.sent = append(e.sent, p[n])
			case r.open && len(r.received) < r.size:
				r.receive(p[n])
			case r.open && r.drops:
				r.errors |= wincom.ErrorQueueOverrun
			default:
				goto full
			}
			n++
		}
	full:
		e.pair.changed.Broadcast()
		if n == len(p) {
			return n, nil
		}
		e.pair.changed.Wait()
	}
}

// take moves received bytes to p.
func (e *end) take(p []byte) int {
	n := copy(p, e.received)
	e.received = e.received[n:]
	if len(e.received) == 0 {
		e.received = nil
	}
	e.pair.changed.Broadcast()
	return n
}
