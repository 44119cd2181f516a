// Package wincomtest is a model of a com0com pair, for tests on every system. It stands for the driver, at the border
// wincom.Device: its answers, records, queues and pins are those that were measured on com0com 3.0. The application's end
// is scripted through Application. It must not know the port that stands on the other end.
//
// It is simpler than the driver: one lock, no timeouts but that of a read, no XON/XOFF and handshakes. What the driver does
// to the 14 bytes that a writer may have out of hand when it purges them is an assumption (they are discarded).
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

// Errors of the model. The first is what Windows calls ERROR_INVALID_PARAMETER.
var (
	ErrInvalid = errors.New("the parameter is incorrect")
	ErrSmall   = errors.New("the data area passed to a system call is too small")
)

// Caps is what com0com 2.2 and newer answer; OldCaps what 2.1 does, which does not tell the end of a break.
const (
	Caps    = wincom.InsertGet | wincom.InsertClear | wincom.InsertAll
	OldCaps = Caps &^ wincom.InsertBreakOff
)

const (
	firstQueue = 4096 // room for received bytes at an open
	fifo       = 14   // bytes that a writer can give while nobody has the other end open
)

// Pair is one pair. Its fields are set before it is used.
type Pair struct {
	Ends wincom.Ends // their names, and the pins that the driver obeys

	Caps       uint32 // what the driver tells of itself; 0: it does not know the extension
	Refuses    bool   // a driver that does not know the extension refuses the request, as Wine's ports do
	EmuOverrun bool   // the agent's end drops what does not fit
	Broken     error  // what Check returns
	Foreign    bool   // Find says that the application's end is another driver's; Open opens the agent's by its name

	Most int // what one read of the agent's end returns at most; 0: as much as fits

	mu          sync.Mutex // over everything below
	changed     *sync.Cond
	application end
	agent       end
}

// NewPair returns a pair with the pins that telnetcpc gives. The ends are as after the driver was loaded, but that a
// program has left the application's one at 9600 8N1.
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
func (p *Pair) Check() error { return p.Broken }

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

	open   bool
	baud   uint32
	line   [3]byte // stop bits, parity, word length
	xon    byte
	xoff   byte
	raises wincom.Output // what an open raises
	mcr    wincom.Output
	status uart.ModemState
	broken bool // this end sends a break

	received []byte
	size     int
	sent     []byte // out of hand while nobody has the peer open
	errors   uint32
	escape   byte // 0: nothing is inserted
	inserts  uint32
}

// opens is an open of the end; the lock is held, as in all that follow.
func (e *end) opens() {
	e.open, e.size, e.received, e.errors = true, firstQueue, nil, 0
	e.setOutputs(e.raises, wincom.OutDTR|wincom.OutRTS)
	e.look()
	e.peer.look()
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
	e.look()
	e.peer.look()
	e.pair.changed.Broadcast()
}

func (e *end) setOutputs(value, mask wincom.Output) {
	e.mcr = e.mcr&^mask | value&mask
	e.peer.look()
	e.look()
}

// look computes the inputs anew, and tells of a change.
func (e *end) look() {
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

// drives is what the end drives, as the other end's pins name it.
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

// insert puts a record into the queue where records of its kind are wanted. One that does not fit is lost.
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

// receive puts a byte into the queue. The driver masks it to the smaller word length of the two.
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
	if e.broken == on {
		return
	}
	e.broken = on
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

// write gives bytes to the peer until all are given or stop says that the write is over.
func (e *end) write(p []byte, stop func() error) (n int, err error) {
	for {
		if err := stop(); err != nil {
			return n, err
		}
		for n < len(p) && !e.broken {
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
