// Package ordered is a queue of bytes with events between them, each at its place: a change of the line coding after these
// bytes and before those.
//
// A FIFO is bytes alone. A Stream is bytes and items of any type; on it stand Received, what a UART has received (for the
// devices of an access server), and Queue, what an application did (for port hosts): that one merges events, so that it stays
// bounded whatever the application does. The client of package rfc2217 holds a Stream of its own.
//
// The package never waits, locks or calls anyone: the owner of a queue does.
package ordered

import (
	"slices"

	"telnetcpc/bridge/uart"
)

// Limit is how many bytes a host lets wait before it blocks the application. The queue itself takes more.
const Limit = 64 << 10

const (
	// holdLimit is how many events may wait before a host that can blocks the application, and before events merge that lose
	// nothing by it.
	holdLimit = 256
	// mergeLimit is how many may wait before DTR, RTS, break and opens merge too. The difference is room for the events of a
	// close and an open, which cannot be blocked.
	mergeLimit = holdLimit + 8
	// moveLimit is how many may wait before events merge even with bytes between them.
	moveLimit = 1024
)

// Queue is what the application did and its host has not passed on: bytes, and events at their places between them, by the
// contract of uart.Port. The zero value is empty. It has no lock.
//
// It never holds many more than 1024 events, as long as opens and closes alternate.
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

// Crowded reports whether so many events wait that some merge.
func (q *Queue) Crowded() bool { return len(q.stream.items) >= holdLimit }

// Merged returns how many changes of DTR, RTS and break, and how many opens, have no event of their own because they were
// merged into another. It resets the count.
func (q *Queue) Merged() uint64 {
	n := q.merged
	q.merged = 0
	return n
}

// Outcome is what Add did with an event.
type Outcome struct {
	// Ready, if set, is that of an open that is merged away, so the bridge never sees it. The caller must call it, to release
	// the program's open.
	Ready func(error)
	// Moved: for want of room, changes with bytes between them were merged. The earlier one is reported after those bytes.
	Moved bool
}

// Full reports whether the application should be blocked before it makes this event: so many wait that it would be one more, or
// that merging it may lose something.
func (q *Queue) Full(e uart.Event) bool {
	if len(q.stream.items) < holdLimit {
		return false
	}
	switch {
	case e.Kind == uart.KindPurge:
		return false // it must not wait: it drops what others wait for
	case e.Kind == uart.KindSettings && e.Control == (uart.Control{}):
		i := q.last(uart.KindSettings)
		return !q.atEnd(i)
	}
	return true
}

// Add appends an event, or merges it into an earlier one:
//
//   - always: line coding and flow control into line coding and flow control directly before them;
//   - if 256 events wait: the same into the last settings, and a purge into the last purge, with other events between them but
//     no byte, open or close;
//   - if a few more wait: DTR, RTS and break likewise, and a close with the open after it. These are counted: Merged,
//     Event.Purges and Event.Visits;
//   - if 1024 wait: the same with bytes between them. Then the earlier event moves to the place of the later one.
//
// So memory is bounded, the last state is always reported, and no change is reported before bytes that were written before it.
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

// last is the index of the last event of a kind; -1: there is none. One before an open or a close counts only if the queue is
// so full that nothing else helps.
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

// lastClose is the index of the last close that no open follows; -1: there is none.
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

// take removes event i.
func (q *Queue) take(i int) uart.Event {
	e := q.stream.items[i].item
	q.stream.items = slices.Delete(q.stream.items, i, i+1)
	return e
}

// over merges later settings into earlier ones, and counts what is lost.
func (q *Queue) over(e, before uart.Event) uart.Event {
	if e.Control != (uart.Control{}) && before.Control != (uart.Control{}) {
		q.merged++
	}
	before.Coding, before.Flow = e.Coding.Over(before.Coding), e.Flow.Over(before.Flow)
	before.Control = e.Control.Over(before.Control)
	before.Visits += e.Visits
	return before
}

// purges merges two purges into one.
func purges(e, before uart.Event) uart.Event {
	if before.Purge&e.Purge&uart.PurgeTx != 0 {
		before.Purges++
	}
	before.Purge |= e.Purge
	return before
}

// revisit removes the close at i and counts the visit in the event before it, or after it if there is none.
func (q *Queue) revisit(i int) {
	visits := q.take(i).Visits + 1
	q.merged++
	q.stream.items[max(i-1, 0)].item.Visits += visits
}
