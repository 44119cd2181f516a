package ftdi

import "telnetcpc/bridge/uart"

// What waits for Next, by the contract of uart.Port.
const (
	upLimit    = 64 << 10  // bytes, above which transfers are answered later
	upMost     = 256 << 10 // bytes, above which they are refused: more than a driver can have under way
	eventLimit = 256       // events, above which what else must not merge does
)

// placed is an event, and the position in the bytes before which it happened.
type placed struct {
	at    uint64
	event uart.Event
}

// upQueue is what the application did and Next has not returned: bytes, and events at their places between them. The
// zero value is empty. It has no lock.
type upQueue struct {
	bytes  fifo
	end    uint64 // position behind the last byte
	events []placed
	merged uint64 // changes that are not told because a later one was merged into them
}

// empty reports whether there is neither byte nor event.
func (q *upQueue) empty() bool { return q.bytes.len() == 0 && len(q.events) == 0 }

func (q *upQueue) push(p []byte) {
	q.bytes.push(p)
	q.end += uint64(len(p))
}

// event takes the event that comes before the next byte, if there is one.
func (q *upQueue) event() (uart.Event, bool) {
	if len(q.events) == 0 || q.events[0].at > q.start() {
		return uart.Event{}, false
	}
	e := q.events[0].event
	q.events[0] = placed{} // its Ready may hold much
	q.events = q.events[1:]
	if len(q.events) == 0 {
		q.events = nil
	}
	return e, true
}

// take moves bytes that come before the next event into p.
func (q *upQueue) take(p []byte) int {
	n := q.bytes.len()
	if len(q.events) > 0 {
		n = int(q.events[0].at - q.start())
	}
	return q.bytes.take(p[:min(n, len(p))])
}

// drop throws the bytes away; the events stay, in their order.
func (q *upQueue) drop() {
	q.bytes.clear()
	for i := range q.events {
		q.events[i].at = q.end
	}
}

// start is the position of the first byte.
func (q *upQueue) start() uint64 { return q.end - uint64(q.bytes.len()) }

// add appends an event. It merges into the one before, as long as no byte lies between, where it takes nothing from
// what is told: line coding and flow control into line coding and flow control. Beyond eventLimit it merges DTR, RTS
// and break, purges, and a close with the open behind it too, and counts them: memory ends somewhere, and the last
// state is what matters then.
func (q *upQueue) add(e uart.Event) {
	if n := len(q.events); n > 0 && q.events[n-1].at == q.end && q.merge(&q.events[n-1].event, e, n >= eventLimit) {
		return
	}
	q.events = append(q.events, placed{q.end, e})
}

func (q *upQueue) merge(last *uart.Event, e uart.Event, full bool) bool {
	switch {
	case last.Kind == uart.KindSettings && e.Kind == uart.KindSettings:
		if plain := last.Control == (uart.Control{}) && e.Control == (uart.Control{}); !plain {
			if !full {
				return false
			}
			q.merged++
		}
		last.Coding, last.Flow = e.Coding.Over(last.Coding), e.Flow.Over(last.Flow)
		last.Control = e.Control.Over(last.Control)
		return true
	case full && last.Kind == uart.KindPurge && e.Kind == uart.KindPurge:
		last.Purge |= e.Purge
	case full && last.Kind == uart.KindClosed && e.Kind == uart.KindOpened:
		q.events = q.events[:len(q.events)-1]
		e.Ready(nil) // nobody will hear of this open
	default:
		return false
	}
	q.merged++
	return true
}

// fifo is bytes in a row. The zero value is empty. It grows to what is pushed, and is kept small by its owner.
type fifo struct {
	buf  []byte
	head int // of what is not taken
}

func (f *fifo) len() int { return len(f.buf) - f.head }

func (f *fifo) push(p []byte) {
	if f.head > 0 && len(f.buf)+len(p) > cap(f.buf) {
		f.buf = f.buf[:copy(f.buf, f.buf[f.head:])]
		f.head = 0
	}
	f.buf = append(f.buf, p...)
}

// peek is what take would take.
func (f *fifo) peek() []byte { return f.buf[f.head:] }

func (f *fifo) skip(n int) {
	f.head += n
	if f.head == len(f.buf) {
		f.buf, f.head = f.buf[:0], 0
	}
}

func (f *fifo) take(p []byte) int {
	n := copy(p, f.peek())
	f.skip(n)
	return n
}

func (f *fifo) clear() { f.buf, f.head = f.buf[:0], 0 }
