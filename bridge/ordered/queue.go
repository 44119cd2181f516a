// Package ordered is a queue of bytes with events between them: what the application did and nobody has taken yet, by the
// contract of uart.Port. It waits for nobody and calls nobody, but for the Ready of an open that it merges, and that from a
// goroutine of its own. It knows neither who fills it nor who takes from it.
package ordered

import "telnetcpc/bridge/uart"

// Limit is how many bytes may wait before whoever writes them is held back. The queue itself takes more.
const Limit = 64 << 10

// eventLimit is how many events may wait before what else must not merge does.
const eventLimit = 256

// placed is an event, and the position in the bytes before which it happened.
type placed struct {
	at    uint64
	event uart.Event
}

// Queue is what the application did and nobody has taken: bytes, and events at their places between them. A position is a
// count of all bytes ever pushed; what is taken or dropped keeps its number. The zero value is empty. It has no lock.
type Queue struct {
	bytes  FIFO
	end    uint64 // position behind the last byte
	events []placed
	merged uint64 // changes that are not told because a later one was merged into them
}

// Empty reports whether there is neither byte nor event.
func (q *Queue) Empty() bool { return q.bytes.Len() == 0 && len(q.events) == 0 }

// Len is the number of bytes.
func (q *Queue) Len() int { return q.bytes.Len() }

// start is the position of the first byte that is in the queue, or would be.
func (q *Queue) start() uint64 { return q.end - uint64(q.bytes.Len()) }

// Push appends bytes, which it copies.
func (q *Queue) Push(p []byte) {
	q.bytes.Push(p)
	q.end += uint64(len(p))
}

// Event takes the event that comes before the next byte, if there is one.
func (q *Queue) Event() (uart.Event, bool) {
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

// Take moves bytes that come before the next event into p and returns how many.
func (q *Queue) Take(p []byte) int {
	n := q.bytes.Len()
	if len(q.events) > 0 {
		n = int(q.events[0].at - q.start())
	}
	return q.bytes.Take(p[:min(n, len(p))])
}

// Drop throws the bytes away; the events stay, in their order.
func (q *Queue) Drop() {
	q.bytes.Clear()
	for i := range q.events {
		q.events[i].at = q.end
	}
}

// Merged returns how many changes were merged into later ones though none of them should be lost, and begins to count
// anew.
func (q *Queue) Merged() uint64 {
	n := q.merged
	q.merged = 0
	return n
}

// Add appends an event. It merges into the one before, as long as no byte lies between, where it takes nothing from
// what is told: line coding and flow control into line coding and flow control. Beyond eventLimit it merges DTR, RTS
// and break, purges, and a close with the open behind it too, and counts them (Merged, and Event.Purges and Visits):
// memory ends somewhere, and the last state is what matters then.
func (q *Queue) Add(e uart.Event) {
	if n := len(q.events); n > 0 && q.events[n-1].at == q.end && q.merge(&q.events[n-1].event, e, n >= eventLimit) {
		return
	}
	q.events = append(q.events, placed{q.end, e})
}

func (q *Queue) merge(last *uart.Event, e uart.Event, full bool) bool {
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
		if last.Purge&e.Purge&uart.PurgeTx != 0 {
			last.Purges++
		}
		last.Purge |= e.Purge
	case full && last.Kind == uart.KindClosed && e.Kind == uart.KindOpened:
		before := &q.events[len(q.events)-2].event // the queue is full: there is one
		before.Visits += last.Visits + 1
		q.events = q.events[:len(q.events)-1]
		if e.Ready != nil {
			go e.Ready(nil) // nobody will hear of this open; it may take a lock that the caller holds
		}
	default:
		return false
	}
	q.merged++
	return true
}
