// Package ordered is a queue of bytes with events between them: what the application did and nobody has taken yet, by the
// contract of uart.Port. It waits for nobody and calls nobody. It knows neither who fills it nor who takes from it.
package ordered

import (
	"slices"

	"telnetcpc/bridge/uart"
)

// Limit is how many bytes may wait before whoever writes them is held back. The queue itself takes more.
const Limit = 64 << 10

const (
	// holdLimit is how many events may wait before whoever makes more is held back, where the host can do that, and before
	// what loses nothing by it merges.
	holdLimit = 256
	// mergeLimit is how many may wait before DTR, RTS, break and opens merge too. Between the two is room for what comes
	// with a close and an open, which nobody can hold back.
	mergeLimit = holdLimit + 8
	// moveLimit is how many may wait before they merge though bytes lie between them.
	moveLimit = 1024
)

// Queue is what the application did and nobody has taken: bytes, and events at their places between them. A position is a
// count of all bytes ever pushed; what is taken or dropped keeps its number. The zero value is empty. It has no lock.
//
// However it is used it holds little more than 1024 events, as long as opens and closes alternate.
type Queue struct {
	stream Stream[uart.Event]
	merged uint64 // changes that are not reported because a later one was merged into them
}

// Empty reports whether there is neither a byte nor an event.
func (q *Queue) Empty() bool { return q.stream.Empty() }

// Len is the number of bytes.
func (q *Queue) Len() int { return q.stream.Len() }

// Push appends a copy of p.
func (q *Queue) Push(p []byte) { q.stream.Push(p) }

// Event removes the event that comes before the next byte and returns it, if there is one.
func (q *Queue) Event() (uart.Event, bool) { return q.stream.Item() }

// Take moves bytes that come before the next event into p and returns how many.
func (q *Queue) Take(p []byte) int { return q.stream.Take(p) }

// Drop removes all bytes. The events stay, in their order.
func (q *Queue) Drop() { q.stream.Drop() }

// Crowded reports whether so many events wait that some are merged.
func (q *Queue) Crowded() bool { return len(q.stream.items) >= holdLimit }

// Merged returns how many changes of DTR, RTS and break, and how many opens, are told by none of their own, and begins to
// count from 0 again.
func (q *Queue) Merged() uint64 {
	n := q.merged
	q.merged = 0
	return n
}

// Outcome says what became of an event.
type Outcome struct {
	// Ready, where set, is the one of an open that Next will never tell of. Whoever holds the program's open for it is to let
	// it go: nobody else calls it.
	Ready func(error)
	// Moved says that for want of room changes were merged over bytes that lie between them: the earlier one is told behind
	// those bytes.
	Moved bool
}

// Full reports whether whoever makes this event is to be held back until somebody has taken others: so many wait that it
// would be one more of too many, or may take something from what is told.
func (q *Queue) Full(e uart.Event) bool {
	if len(q.stream.items) < holdLimit {
		return false
	}
	switch {
	case e.Kind == uart.KindPurge:
		return false // it cannot wait: it throws away what others wait for
	case e.Kind == uart.KindSettings && e.Control == (uart.Control{}):
		i := q.last(uart.KindSettings)
		return !q.atEnd(i)
	}
	return true
}

// Add appends an event. Line coding and flow control merge into line coding and flow control right before them, as long as
// no byte lies between. Where 256 events wait they merge into the last settings, and a purge into the last purge, with
// other events between them too, but no byte, open or close. Where some more wait DTR, RTS and break merge likewise, and
// a close with the open behind it, and are counted: Merged, and Event.Purges and Visits. Where 1024 wait, bytes between
// them do not matter any more: then the earlier event is told with the later one, at its place. So memory ends somewhere,
// the last state is always told, and no change is told before bytes that were written before it.
func (q *Queue) Add(e uart.Event) Outcome {
	n := len(q.stream.items)
	if n == 0 {
		q.stream.Add(e)
		return Outcome{}
	}
	switch e.Kind {
	case uart.KindSettings:
		plain := e.Control == (uart.Control{})
		i := q.last(uart.KindSettings)
		switch {
		case q.atEnd(i) && plain && (n >= holdLimit || i == n-1 && q.stream.items[i].item.Control == (uart.Control{})),
			q.atEnd(i) && n >= mergeLimit:
			q.stream.items[i].item = q.over(e, q.stream.items[i].item)
			return Outcome{}
		case i >= 0 && n >= moveLimit:
			e = q.over(e, q.take(i))
			q.stream.Add(e)
			return Outcome{Moved: true}
		}
	case uart.KindPurge:
		switch i := q.last(uart.KindPurge); {
		case q.atEnd(i) && n >= holdLimit:
			q.stream.items[i].item = purges(e, q.stream.items[i].item)
			return Outcome{}
		case i >= 0 && n >= moveLimit:
			e = purges(e, q.take(i))
			q.stream.Add(e)
			return Outcome{Moved: true}
		}
	case uart.KindOpened:
		if i := q.lastClose(); q.atEnd(i) && n >= mergeLimit || i >= 0 && n >= moveLimit {
			q.revisit(i)
			return Outcome{Ready: e.Ready}
		}
	}
	q.stream.Add(e)
	return Outcome{}
}

// atEnd reports whether there is an event i and no byte after it.
func (q *Queue) atEnd(i int) bool { return i >= 0 && q.stream.items[i].at == q.stream.end }

// last is the place of the last event of a kind; -1: there is none. One before an open or close counts only where the
// queue is so full that nothing else helps: a close that is told by another event leaves what lay around it.
func (q *Queue) last(k uart.Kind) int {
	for i := len(q.stream.items) - 1; i >= 0; i-- {
		switch kind := q.stream.items[i].item.Kind; {
		case kind == k:
			return i
		case len(q.stream.items) < moveLimit && (kind == uart.KindOpened || kind == uart.KindClosed):
			return -1
		}
	}
	return -1
}

// lastClose is the place of the last close that has no open behind it; -1: there is none.
func (q *Queue) lastClose() int {
	for i := len(q.stream.items) - 1; i >= 0; i-- {
		switch q.stream.items[i].item.Kind {
		case uart.KindClosed:
			return i
		case uart.KindOpened:
			return -1
		}
	}
	return -1
}

// take takes an event out of the middle.
func (q *Queue) take(i int) uart.Event {
	e := q.stream.items[i].item
	q.stream.items = slices.Delete(q.stream.items, i, i+1)
	return e
}

// over is settings with later ones over them; it counts what is lost by that.
func (q *Queue) over(e, before uart.Event) uart.Event {
	if e.Control != (uart.Control{}) && before.Control != (uart.Control{}) {
		q.merged++
	}
	before.Coding, before.Flow = e.Coding.Over(before.Coding), e.Flow.Over(before.Flow)
	before.Control = e.Control.Over(before.Control)
	before.Visits += e.Visits
	return before
}

// purges is one purge for two.
func purges(e, before uart.Event) uart.Event {
	if before.Purge&e.Purge&uart.PurgeTx != 0 {
		before.Purges++
	}
	before.Purge |= e.Purge
	return before
}

// revisit takes out the close at i, whose open is told by an event before it, or behind it where there is none.
func (q *Queue) revisit(i int) {
	visits := q.take(i).Visits + 1
	q.merged++
	q.stream.items[max(i-1, 0)].item.Visits += visits
}
