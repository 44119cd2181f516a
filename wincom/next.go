package wincom

import (
	"time"

	"telnetcpc/bridge/uart"
)

// The way of a byte up:
//
//	application's WriteFile -> driver's queue -> Device.Read -> Decoder -> Next
//
// The driver puts what the application changes into the same queue, so order is the order of the queue, and back pressure
// is a Next that is not called: once the queue is full the driver lets the application's write wait.

// settle is how long a change of the line coding waits for more: SetCommState is several requests to the driver, for the
// rate and for the rest. Bytes and changes of another kind end the wait.
const settle = 10 * time.Millisecond

// idle is how long the stream must be silent before Next makes sure that it has missed nothing.
const idle = time.Second

// up is what Next alone uses.
type up struct {
	decoder Decoder
	buf     [readSize]byte

	raw        int  // bytes still to be read that the driver has queued before it inserted records
	rawDropped bool // nobody has use for them
	bare       bool // the driver inserts nothing: all that is read is bytes

	// What was read, in this order: queue, data, record, unread.
	queue  eventQueue
	data   []byte
	insert Record
	unread []byte

	opened bool // what the stream says
	lines  uart.ModemState
	broken bool        // the application sends a break
	coding uart.Coding // of the application's end
	told   uart.Coding // as last told by Next

	unsure   bool   // something was read since the driver was last asked what is so now
	ask      bool   // the driver is to be asked: its queue may have been full, or it is time
	lost     bool   // since the driver was last asked a record was
	question []byte // the request of resync
	said     map[byte]bool
	one      [1]byte
	answer   [stateSize]byte // of the driver
	commBuf  [serialStatusSize]byte
}

// Next implements uart.Port.
func (p *port) Next() ([]byte, uart.Event, error) {
	for {
		switch {
		case p.queue.has(len(p.data) == 0):
			return nil, p.queue.pop(), nil
		case len(p.data) > 0:
			data := p.data
			p.data = nil
			return data, uart.Event{}, nil
		case p.insert.Kind != 0:
			r := p.insert
			p.insert = Record{}
			p.record(r)
		case p.bare && len(p.unread) > 0:
			p.data, p.unread = p.unread, nil
		case p.raw > 0 && len(p.unread) > 0:
			p.takeRaw()
		case len(p.unread) > 0:
			p.data, p.insert, p.unread = p.decoder.Decode(p.unread)
		default:
			if err := p.read(); err != nil {
				return nil, uart.Event{}, err
			}
		}
	}
}

// takeRaw takes bytes that hold no records.
func (p *port) takeRaw() {
	n := min(p.raw, len(p.unread))
	if !p.rawDropped {
		p.data = p.unread[:n]
	}
	p.raw -= n
	p.unread = p.unread[n:]
}

// read waits for more of the stream.
func (p *port) read() error {
	if p.ask && !p.plain {
		if err := p.resync(); err != nil {
			return p.failed("ask", err)
		}
		if p.queue.n > 0 {
			return nil
		}
	}
	within := time.Duration(-1)
	switch {
	case p.queue.n > 0:
		within = settle
	case p.unsure && !p.plain:
		within = idle
	}
	p.waiting.Store(true)
	n, err := p.dev.Read(p.buf[:], within)
	p.waiting.Store(false)
	if err != nil {
		return p.failed("read", err)
	}
	p.unread = p.buf[:n]
	switch {
	case n > 0:
		p.unsure = true
		p.ask = p.ask || n == len(p.buf)
	case p.queue.n > 0:
		p.queue.settled = true
	case p.unsure:
		p.ask = true
	}
	return nil
}

// record does what a record means.
func (p *port) record(r Record) {
	switch r.Kind {
	case RecordModem:
		p.modemStatus(r.Modem)
	case RecordBaud, RecordLineControl:
		p.coding = r.Coding.Over(p.coding)
		if p.opened {
			p.tellCoding()
		}
	case RecordLine:
		p.setBreak(r.Line&uart.LineBreak != 0)
	case RecordError:
		p.setBreak(r.Line&uart.LineBreak != 0)
		if r.Line&uart.LineBreak == 0 { // EmuNoise: what a damaged line delivers
			p.one[0] = r.Char
			p.data = p.one[:]
		}
	case RecordUnknown:
		if !p.said[r.Code] {
			if p.said == nil {
				p.said = map[byte]bool{}
			}
			p.said[r.Code] = true
			p.log.Warn("the driver inserts records of a kind that is not known; they are passed over", "code", r.Code)
		}
	}
}

// modemStatus takes the state of the agent's inputs. Lines that rise before the end is open, as an open raises them, are
// told behind the open; those that fall with the close before it.
func (p *port) modemStatus(m uart.ModemState) {
	before := p.lines
	p.lines = m
	if p.open.known() {
		switch open := p.open.on(m); {
		case open && !p.opened:
			p.opens()
			return
		case !open && p.opened:
			p.closes(before)
			return
		}
	}
	if p.opened {
		p.tellControl(uart.Control{DTR: changed(p.dtr, before, m), RTS: changed(p.rts, before, m)})
	}
}

// opens tells of an open, and of what is so then: opening is asking.
func (p *port) opens() {
	p.opened = true
	p.sawOpen()
	p.queue.push(uart.Event{Kind: uart.KindOpened})
	p.tellControl(uart.Control{DTR: level(p.dtr, p.lines), RTS: level(p.rts, p.lines)})
	p.tellCoding()
}

// closes tells of a close, and of what falls with it; the lines were as before says.
func (p *port) closes(before uart.ModemState) {
	p.setBreak(false)
	p.tellControl(uart.Control{DTR: fallen(p.dtr, before), RTS: fallen(p.rts, before)})
	p.opened = false
	p.queue.push(uart.Event{Kind: uart.KindClosed})
	p.sawClose()
}

func (p *port) tellControl(c uart.Control) {
	if c != (uart.Control{}) {
		p.queue.push(uart.Event{Kind: uart.KindSettings, Control: c})
	}
}

func (p *port) tellCoding() {
	if p.coding != p.told {
		p.told = p.coding
		p.mirror(p.coding.Baud)
		p.queue.merge(uart.Event{Kind: uart.KindSettings, Coding: p.coding})
	}
}

// setBreak takes whether a break is there. A driver that does not say when it ends is not believed that one begins.
func (p *port) setBreak(on bool) {
	if on == p.broken || !p.opened || !p.tellsBreak() {
		return
	}
	p.broken = on
	p.tellControl(uart.Control{Break: uart.LevelOf(on)})
}

// level is what is told of a line that is read so.
func level(r reading, m uart.ModemState) uart.Level {
	if !r.known() {
		return 0
	}
	return uart.LevelOf(r.on(m))
}

// changed is what is told of a line where it has changed.
func changed(r reading, before, now uart.ModemState) uart.Level {
	if r.on(before) == r.on(now) {
		return 0
	}
	return uart.LevelOf(r.on(now))
}

// fallen is what a close tells of a line: it falls if it was on.
func fallen(r reading, before uart.ModemState) uart.Level {
	if !r.on(before) {
		return 0
	}
	return uart.LevelOff
}

// resync asks the driver what is so now, once everything that it has queued was read: a record finds no room in a queue
// that is full. What comes between the two looks at the queue would belong behind the answer, so then it waits for the next
// time. A close that was called out before, and has not come in all that was read, found no room either: it is told first.
func (p *port) resync() error {
	closed := p.calledAhead()
	if waiting, err := p.look(); waiting || err != nil {
		return err
	}
	n, err := p.dev.Ioctl(LsrMstInsert, p.question, p.answer[:])
	if err != nil {
		return err
	}
	if waiting, err := p.look(); waiting || err != nil {
		return err
	}
	if p.lost {
		p.log.Warn("the driver's queue was full: changes that the application made meanwhile may have been lost, but for the last")
	}
	p.ask, p.unsure, p.lost = false, false, false
	if closed && p.opened {
		p.closes(p.lines)
	}
	p.takeState(p.answer[:n])
	return nil
}

// look reports whether the driver has something to be read, and keeps whether it has lost something.
func (p *port) look() (waiting bool, err error) {
	s, err := p.commStatus()
	p.lost = p.lost || s.errors&errorLost != 0
	return s.waiting > 0, err
}

// eventQueue holds the events that come next, in order. There are never more than one call can make.
type eventQueue struct {
	events  [8]uart.Event
	n       int
	open    bool // the last one is a coding that more may merge into
	settled bool // nothing more has come in time
}

// push adds an event.
func (q *eventQueue) push(e uart.Event) {
	q.events[q.n] = e
	q.n++
	q.open, q.settled = false, false
}

// merge adds a coding, into the last event where that is one and nothing lies between them.
func (q *eventQueue) merge(e uart.Event) {
	if q.open {
		q.n--
	}
	q.push(e)
	q.open = true
}

// has reports whether the first event can be told. more says that nothing is known yet to come behind it.
func (q *eventQueue) has(more bool) bool {
	return q.n > 1 || q.n == 1 && (!q.open || q.settled || !more)
}

// pop takes the first event.
func (q *eventQueue) pop() uart.Event {
	e := q.events[0]
	q.n--
	copy(q.events[:], q.events[1:q.n+1])
	if q.n == 0 {
		q.open, q.settled = false, false
	}
	return e
}
