package wincom

import (
	"time"

	"telnetcpc/bridge/uart"
)

// The way of a byte up:
//
//	application's WriteFile -> driver's queue -> Device.Read -> Decoder -> Next
//
// The driver inserts records into the same queue, so its order is the order of what the application did. Back pressure is
// that Next is not called: once the queue is full, the driver blocks the application's write.

// mergeWindow is how long a change of the line coding waits for more of it: SetCommState makes two requests to the driver,
// one for the baud rate and one for the rest. Bytes and other changes end the wait.
const mergeWindow = 10 * time.Millisecond

// verifyAfter is how long the stream must be silent before Next verifies that it missed no record.
const verifyAfter = time.Second

// nextState is what only Next uses. start uses it before there is a Next.
type nextState struct {
	decoder Decoder
	buf     [readSize]byte

	// Bytes that the driver queued before it inserted records: raw of them are still to be read, unescaped.
	raw     int
	dropRaw bool // the program that wrote them is gone
	bare    bool // the driver inserts nothing: the whole stream is raw

	// What Next has read and not returned, in this order.
	queue  eventQueue
	data   []byte
	insert Record
	unread []byte

	// The application's end, as the stream has it.
	opened   bool
	inputs   uart.ModemState // of the agent's end
	inBreak  bool            // the application sends a break
	coding   uart.Coding
	reported uart.Coding // the coding that Next returned last

	// Verifying that no record was lost; see resync.
	unverified bool   // something was read since the last resync
	due        bool   // resync before the next read: the driver's queue may have been full, or the stream was silent
	lost       bool   // the driver has reported a loss since the last resync
	getState   []byte // the request, made once
	stateBuf   [stateSize]byte
	statusBuf  [serialStatusSize]byte

	oneByte [1]byte       // data of a RecordError
	warned  map[byte]bool // unknown record codes that were logged
}

// Next implements uart.Port.
func (p *port) Next() ([]byte, uart.Event, error) {
	s := &p.next
	for {
		switch {
		case s.queue.ready(len(s.data) == 0):
			return nil, s.queue.pop(), nil
		case len(s.data) > 0:
			data := s.data
			s.data = nil
			return data, uart.Event{}, nil
		case s.insert.Kind != 0:
			r := s.insert
			s.insert = Record{}
			p.apply(r)
		case s.bare && len(s.unread) > 0:
			s.data, s.unread = s.unread, nil
		case s.raw > 0 && len(s.unread) > 0:
			s.takeRaw()
		case len(s.unread) > 0:
			s.data, s.insert, s.unread = s.decoder.Decode(s.unread)
		default:
			if err := p.read(); err != nil {
				return nil, uart.Event{}, err
			}
		}
	}
}

// takeRaw moves raw bytes from unread to data, or drops them.
func (s *nextState) takeRaw() {
	n := min(s.raw, len(s.unread))
	if !s.dropRaw {
		s.data = s.unread[:n]
	}
	s.raw -= n
	s.unread = s.unread[n:]
}

// read waits for more of the stream.
func (p *port) read() error {
	s := &p.next
	if s.due && !p.plain {
		if err := p.resync(); err != nil {
			return p.failed("query", err)
		}
		if s.queue.n > 0 {
			return nil
		}
	}
	within := time.Duration(-1)
	switch {
	case s.queue.n > 0:
		within = mergeWindow
	case s.unverified && !p.plain:
		within = verifyAfter
	}
	p.presence.reading.Store(true)
	n, err := p.dev.Read(s.buf[:], within)
	p.presence.reading.Store(false)
	if err != nil {
		return p.failed("read", err)
	}
	s.unread = s.buf[:n]
	switch {
	case n > 0:
		s.unverified = true
		s.due = s.due || n == len(s.buf)
	case s.queue.n > 0:
		s.queue.complete = true
	case s.unverified:
		s.due = true
	}
	return nil
}

// apply turns a record into events.
func (p *port) apply(r Record) {
	s := &p.next
	switch r.Kind {
	case RecordModem:
		p.inputsChanged(r.Modem)
	case RecordBaud, RecordLineControl:
		s.coding = r.Coding.Over(s.coding)
		if s.opened {
			p.reportCoding()
		}
	case RecordLine:
		p.setBreak(r.Line&uart.LineBreak != 0)
	case RecordError:
		p.setBreak(r.Line&uart.LineBreak != 0)
		if r.Line&uart.LineBreak == 0 { // EmuNoise damaged a byte; it is data all the same
			s.oneByte[0] = r.Char
			s.data = s.oneByte[:]
		}
	case RecordUnknown:
		if !s.warned[r.Code] {
			if s.warned == nil {
				s.warned = map[byte]bool{}
			}
			s.warned[r.Code] = true
			p.log.Warn("the driver inserts records of an unknown kind; they are ignored", "code", r.Code)
		}
	}
}

// inputsChanged applies a new state of the agent's modem inputs. An open raises DTR and RTS before the driver counts the
// end as open: they are reported after the open. Lines that drop with a close are reported before it.
func (p *port) inputsChanged(m uart.ModemState) {
	s := &p.next
	before := s.inputs
	s.inputs = m
	if p.open.known() {
		switch open := p.open.on(m); {
		case open && !s.opened:
			p.reportOpen()
			return
		case !open && s.opened:
			p.reportClose(before)
			return
		}
	}
	if s.opened {
		s.reportControl(uart.Control{DTR: changed(p.dtr, before, m), RTS: changed(p.rts, before, m)})
	}
}

// reportOpen queues an open and the settings at that moment: the driver does not repeat settings that have not changed.
func (p *port) reportOpen() {
	s := &p.next
	s.opened = true
	p.reachedOpen()
	s.queue.push(uart.Event{Kind: uart.KindOpened})
	s.reportControl(uart.Control{DTR: level(p.dtr, s.inputs), RTS: level(p.rts, s.inputs)})
	p.reportCoding()
}

// reportClose queues a close, after what it ends: a break, and the lines that were on before it.
func (p *port) reportClose(before uart.ModemState) {
	s := &p.next
	p.setBreak(false)
	s.reportControl(uart.Control{DTR: dropped(p.dtr, before), RTS: dropped(p.rts, before)})
	s.opened = false
	s.queue.push(uart.Event{Kind: uart.KindClosed})
	p.reachedClose()
}

func (s *nextState) reportControl(c uart.Control) {
	if c != (uart.Control{}) {
		s.queue.push(uart.Event{Kind: uart.KindSettings, Control: c})
	}
}

func (p *port) reportCoding() {
	s := &p.next
	if s.coding != s.reported {
		s.reported = s.coding
		p.mirrorBaud(s.coding.Baud)
		s.queue.merge(uart.Event{Kind: uart.KindSettings, Coding: s.coding})
	}
}

// setBreak reports the begin or end of a break. If the driver does not report the end, no begin is reported either: a break
// that never ends would be worse than none.
func (p *port) setBreak(on bool) {
	s := &p.next
	if on == s.inBreak || !s.opened || !p.reportsBreakEnd() {
		return
	}
	s.inBreak = on
	s.reportControl(uart.Control{Break: uart.LevelOf(on)})
}

// level returns the level of a line; unset if the pins do not show it.
func level(r reading, m uart.ModemState) uart.Level {
	if !r.known() {
		return 0
	}
	return uart.LevelOf(r.on(m))
}

// changed returns the new level of a line; unset if it is the old one.
func changed(r reading, before, now uart.ModemState) uart.Level {
	if r.on(before) == r.on(now) {
		return 0
	}
	return uart.LevelOf(r.on(now))
}

// dropped returns off for a line that was on before a close; otherwise unset.
func dropped(r reading, before uart.ModemState) uart.Level {
	if !r.on(before) {
		return 0
	}
	return uart.LevelOff
}

// resync asks the driver for the current state, once everything that it has queued has been read: a record that finds the
// queue full is lost. If something is queued between the two checks of the queue, the state may be newer than records that
// are still to be read; then it is not used, and resync is called again. If a close was announced and all that was read
// does not have it, its record was lost: it is reported before the state.
func (p *port) resync() error {
	s := &p.next
	closed := p.closeAnnounced()
	if queued, err := p.checkQueue(); queued || err != nil {
		return err
	}
	n, err := p.dev.Ioctl(LsrMstInsert, s.getState, s.stateBuf[:])
	if err != nil {
		return err
	}
	if queued, err := p.checkQueue(); queued || err != nil {
		return err
	}
	if s.lost {
		p.log.Warn("the driver's queue was full: all but the last of the changes that the application made then may be lost")
	}
	s.due, s.unverified, s.lost = false, false, false
	if closed && s.opened {
		p.reportClose(s.inputs)
	}
	p.applyState(s.stateBuf[:n])
	return nil
}

// checkQueue reports whether the driver's queue holds something to read. It records whether the driver has lost something.
func (p *port) checkQueue() (queued bool, err error) {
	status, err := p.commStatus()
	p.next.lost = p.next.lost || status.errors&errorLost != 0
	return status.queued > 0, err
}

// eventQueue holds the events that Next returns next, in order. Its size is the most that one record, or one resync, makes.
type eventQueue struct {
	events   [8]uart.Event
	n        int
	open     bool // the last event is a coding, and more of the same change may be merged into it
	complete bool // mergeWindow has passed
}

// push adds an event.
func (q *eventQueue) push(e uart.Event) {
	q.events[q.n] = e
	q.n++
	q.open, q.complete = false, false
}

// merge adds a coding. If the last event is a coding with nothing after it, the new one replaces it.
func (q *eventQueue) merge(e uart.Event) {
	if q.open {
		q.n--
	}
	q.push(e)
	q.open = true
}

// ready reports whether the first event can be returned. last means that nothing known follows the queue.
func (q *eventQueue) ready(last bool) bool {
	return q.n > 1 || q.n == 1 && (!q.open || q.complete || !last)
}

// pop removes and returns the first event.
func (q *eventQueue) pop() uart.Event {
	e := q.events[0]
	q.n--
	copy(q.events[:], q.events[1:q.n+1])
	if q.n == 0 {
		q.open, q.complete = false, false
	}
	return e
}
