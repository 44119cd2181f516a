// Package ordered is a queue of bytes with events between them, each at its place: a change of the line coding after these
// bytes and before those.
//
// A FIFO has only bytes. A Stream has bytes and items of any type. Two types are built on it: Received, what a UART has
// received (for the devices of an access server), and Queue, what an application did (for port hosts), which merges
// events so that it stays bounded whatever the application does. The client of package rfc2217 uses a Stream directly.
//
// The package never waits, locks or calls back: that is up to the owner of a queue.
package ordered

import (
	"slices"

	"telnetcpc/bridge/uart"
)

// Limit is how many bytes a host queues before it blocks the application. The queue itself has no such limit.
const Limit = 64 << 10

const (
	// holdLimit is how many events may wait before a host blocks the application, if it can, and before events merge that
	// lose nothing by it.
	holdLimit = 256
	// mergeLimit is how many may wait before DTR, RTS, break and opens merge too. The difference is room for the events of a
	// close and an open, which a host cannot block.
	mergeLimit = holdLimit + 8
	// moveLimit is how many may wait before events merge even with bytes between them.
	moveLimit = 1024
)

// Queue is what the application did and its host has not passed on: bytes, with the events between them in order, as
// uart.Port requires. The zero value is empty. It has no lock.
//
// It holds about 1024 events at most, as long as opens and closes alternate.
type Queue struct {
	stream Stream[uart.Event]
	merged uint64 // changes without an event of their own, because a later one was merged into theirs
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
	// Ready, if set, belongs to an open that was merged away, so that the bridge never sees it. The caller must call it, to
	// release the program's open.
	Ready func(error)
	// Moved: the queue is full, so changes with bytes between them were merged. The earlier one is reported after those
	// bytes.
	Moved bool
}

// Full reports whether the application should be blocked before it causes this event: so many wait that one more would be
// too many, or that merging it may lose something.
func (q *Queue) Full(e uart.Event) bool {
	if len(q.stream.items) < holdLimit {
		return false
	}
	switch {
	case e.Kind == uart.KindPurge:
		return false // a purge must not wait: it drops what others wait for
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
			q.stream.items[i].item = q.mergeSettings(e, q.stream.items[i].item)
			return Outcome{}
		case i >= 0 && n >= moveLimit:
			e = q.mergeSettings(e, q.remove(i))
			q.stream.Add(e)
			return Outcome{Moved: true}
		}
	case uart.KindPurge:
		switch i := q.last(uart.KindPurge); {
		case q.atEnd(i) && n >= holdLimit:
			q.stream.items[i].item = mergePurges(e, q.stream.items[i].item)
			return Outcome{}
		case i >= 0 && n >= moveLimit:
			e = mergePurges(e, q.remove(i))
			q.stream.Add(e)
			return Outcome{Moved: true}
		}
	case uart.KindOpened:
		if i := q.lastClose(); q.atEnd(i) && n >= mergeLimit || i >= 0 && n >= moveLimit {
			q.mergeVisit(i)
			return Outcome{Ready: e.Ready}
		}
	}
	q.stream.Add(e)
	return Outcome{}
}

// atEnd reports whether event i exists and no byte follows it.
func (q *Queue) atEnd(i int) bool { return i >= 0 && q.stream.items[i].at == q.stream.end }

// last returns the index of the last event of a kind; -1: there is none. One before an open or a close counts only if the
// queue is so full that nothing else helps.
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

// lastClose returns the index of the last close that no open follows; -1: there is none.
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

// remove removes event i and returns it.
func (q *Queue) remove(i int) uart.Event {
	e := q.stream.items[i].item
	q.stream.items = slices.Delete(q.stream.items, i, i+1)
	return e
}

// mergeSettings returns the settings before with those of the later e over them, and counts the changes that lose their
// event.
func (q *Queue) mergeSettings(e, before uart.Event) uart.Event {
	if e.Control != (uart.Control{}) && before.Control != (uart.Control{}) {
		q.merged++
	}
	before.Coding, before.Flow = e.Coding.Over(before.Coding), e.Flow.Over(before.Flow)
	before.Control = e.Control.Over(before.Control)
	before.Visits += e.Visits
	return before
}

// mergePurges merges two purges into one.
func mergePurges(e, before uart.Event) uart.Event {
	if before.Purge&e.Purge&uart.PurgeTx != 0 {
		before.Purges++
	}
	before.Purge |= e.Purge
	return before
}

// mergeVisit removes the close at i and counts the visit in the event before it, or after it if there is none.
func (q *Queue) mergeVisit(i int) {
	visits := q.remove(i).Visits + 1
	q.merged++
	q.stream.items[max(i-1, 0)].item.Visits += visits
}
