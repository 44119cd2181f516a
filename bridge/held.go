package bridge

import (
	"time"

	"telnetcpc/bridge/uart"
)

const (
	// heldBytes (in bytes) and heldEvents are how much is held for the next session before the application blocks.
	heldBytes, heldEvents = 64 << 10, 256
	// heldPieces is how many pieces HoldFor is divided into: bytes that come within one are one piece, as old as its first.
	heldPieces = 64
)

// held is what the application did and no session has received yet: bytes with their arrival time, and the changes
// between them, in order, so that each byte goes out at the line coding it was written at. It has no lock: the link's mu
// guards it.
type held struct {
	holdFor time.Duration // Policy.HoldFor; 0: nothing is held
	items   []item        // oldest first
	bytes   int           // in items
	events  int           // in items, without closes
	state   settings      // the application's, before the first item
	open    uint64        // how often the port was opened

	// inUse: resend is writing the bytes of the first item to a session. They cannot be taken back, and nothing is appended
	// to them. doomed: a drop was due meanwhile, so those that the session does not take are dropped. purged: that drop was
	// a purge by the application.
	inUse, doomed, purged bool
}

// item is one entry of held: bytes, a change, or the end of an open (KindClosed).
type item struct {
	data  []byte
	event uart.Event
	at    time.Time // of data: when its first byte came; of a close: when it came
	open  uint64    // of both: the open to which it belongs
	visit uint64    // of data: after how many closes it came
}

func (it item) isData() bool  { return it.data != nil }
func (it item) isClose() bool { return it.event.Kind == uart.KindClosed }

// empty reports whether there is nothing to send. A close is not sent.
func (h *held) empty() bool { return h.bytes == 0 && h.events == 0 }

// push appends bytes of this visit that came at time at, as many as there is room for, and returns how many.
func (h *held) push(p []byte, at time.Time, visit uint64) int {
	n := min(len(p), heldBytes-h.bytes)
	if n <= 0 || h.events >= heldEvents {
		return 0
	}
	h.bytes += n
	if last := len(h.items) - 1; last > 0 || last == 0 && !h.inUse {
		if it := &h.items[last]; it.isData() && it.open == h.open && it.visit == visit && at.Sub(it.at) <= h.holdFor/heldPieces {
			it.data = append(it.data, p[:n]...)
			return n
		}
	}
	h.items = append(h.items, item{data: append([]byte(nil), p[:n]...), at: at, open: h.open, visit: visit})
	return n
}

// add appends a change.
func (h *held) add(e uart.Event) {
	h.items = append(h.items, item{event: e})
	h.events++
}

// fold adds a change of settings that comes while no session is up. If nothing is before it, it goes into the state. A
// break is dropped. A change never waits for a session: if too many are held, it is merged into the change before it, or
// the oldest bytes are dropped and their number is returned.
func (h *held) fold(e uart.Event) (dropped int) {
	e.Control.Break = 0
	if (settings{e.Coding, e.Flow, e.Control}) == (settings{}) {
		return 0
	}
	last := len(h.items) - 1
	switch {
	case h.empty():
		h.state = h.state.merge(e)
		return 0
	case h.events < heldEvents:
	case h.items[last].event.Kind == uart.KindSettings:
		before := h.items[last].event
		h.items[last].event = settings{before.Coding, before.Flow, before.Control}.merge(e).event()
		return 0
	default:
		first := 0
		for h.items[first].event.Kind != uart.KindSettings {
			first++
		}
		dropped = h.drop(first)
	}
	h.add(e)
	return dropped
}

// closed records the end of an open: from now on there is a limit to how long its bytes wait.
func (h *held) closed(at time.Time) {
	if h.bytes > 0 {
		h.items = append(h.items, item{event: uart.Event{Kind: uart.KindClosed}, at: at, open: h.open})
	}
}

// tooOld is how many items at the front hold bytes that are to be dropped because they are older than HoldFor when
// compared with newest. The bytes of open number fresh and of later opens do not age.
func (h *held) tooOld(newest time.Time, fresh uint64) (n int) {
	if h.holdFor == Forever {
		return 0
	}
	for i, it := range h.items {
		if !it.isData() {
			continue
		}
		if newest.Sub(it.at) <= h.holdFor || it.open >= fresh {
			return n
		}
		n = i + 1
	}
	return n
}

// newest is when the newest bytes came; ok is false if there are none.
func (h *held) newest() (at time.Time, ok bool) {
	for i := len(h.items) - 1; i >= 0; i-- {
		if h.items[i].isData() {
			return h.items[i].at, true
		}
	}
	return at, false
}

// expired is how many items at the front belong to opens before fresh that were closed HoldFor ago, and when the next
// ones are due; a zero due means that there are none.
func (h *held) expired(now time.Time, fresh uint64) (n int, due time.Time) {
	if h.holdFor == Forever {
		return 0, due
	}
	for i, it := range h.items {
		if !it.isClose() {
			continue
		}
		if it.open >= fresh {
			break
		}
		if until := it.at.Add(h.holdFor); now.Before(until) {
			return n, until
		}
		n = i + 1
	}
	return n, due
}

// beforeClose is how many items at the front belong to opens that are closed.
func (h *held) beforeClose() int {
	for i := len(h.items) - 1; i >= 0; i-- {
		if h.items[i].isClose() {
			return i + 1
		}
	}
	return 0
}

// drop discards the bytes of the first n items and returns their number; the changes among them, and right after them, go
// into the state. Bytes in use stay until sent.
func (h *held) drop(n int) (dropped int) {
	if n > 0 && h.inUse {
		h.doomed = true
		return h.dropRange(1, n)
	}
	dropped = h.dropRange(0, n)
	for len(h.items) > 0 && h.items[0].event.Kind == uart.KindSettings && h.items[0].event.Control.Break == 0 {
		h.remove(0)
	}
	return dropped
}

// dropRange drops the items with indices from <= i < to.
func (h *held) dropRange(from, to int) (dropped int) {
	for i := from; i < to; i++ {
		dropped += len(h.items[from].data)
		h.remove(from)
	}
	return dropped
}

// remove removes an item; a change goes into the state.
func (h *held) remove(i int) {
	it := h.items[i]
	h.bytes -= len(it.data)
	if !it.isData() && !it.isClose() {
		h.events--
	}
	if it.event.Kind == uart.KindSettings {
		h.state = h.state.merge(it.event)
	}
	copy(h.items[i:], h.items[i+1:])
	h.items[len(h.items)-1] = item{}
	if h.items = h.items[:len(h.items)-1]; len(h.items) == 0 {
		h.items = nil // release what a long outage has allocated
	}
}

// purge is dropBytes for a purge of the application.
func (h *held) purge() (dropped int) {
	h.purged = h.purged || h.inUse && !h.doomed
	return h.dropBytes()
}

// dropBytes discards all bytes and returns their number; the changes stay, in order.
func (h *held) dropBytes() (dropped int) {
	from := 0
	if h.inUse {
		h.doomed = true
		from = 1
	}
	for i := from; i < len(h.items); {
		if it := h.items[i]; it.isData() || it.isClose() {
			dropped += len(it.data)
			h.remove(i)
			continue
		}
		i++
	}
	return dropped
}

// unlink removes breaks and purges, which make no sense without a session, and returns the number of breaks. Changes that
// then have no byte before them go into the state.
func (h *held) unlink() (breaks int) {
	for i := 0; i < len(h.items); {
		e := &h.items[i].event
		if e.Control.Break != 0 {
			e.Control.Break = 0
			breaks++
		}
		if e.Kind == uart.KindPurge || e.Kind == uart.KindSettings && i == 0 {
			h.remove(i)
			continue
		}
		i++
	}
	return breaks
}

// next returns what is to be sent first: bytes, which stay, with their visit; or a change, which is removed and merged
// into the state. If the session is lost before that change is sent, later changes override it and not the other way
// round. ok is false if there is nothing to send.
func (h *held) next() (p []byte, visit uint64, e uart.Event, ok bool) {
	for len(h.items) > 0 {
		it := h.items[0]
		if it.isData() {
			return it.data, it.visit, e, true
		}
		h.remove(0)
		if !it.isClose() {
			return nil, 0, it.event, true
		}
	}
	return nil, 0, e, false
}

// sent records that a session has taken n of the bytes in use. It returns how many of the rest are dropped, and whether a
// purge by the application dropped them.
func (h *held) sent(n int) (dropped int, purged bool) {
	purged = h.purged
	h.inUse, h.purged = false, false
	h.items[0].data = h.items[0].data[n:]
	h.bytes -= n
	if h.doomed || len(h.items[0].data) == 0 {
		dropped = len(h.items[0].data)
		h.remove(0)
	}
	h.doomed = false
	return dropped, purged
}

// lineTime is how long the line needs for what is held.
func (h *held) lineTime(withPinned func(settings) settings) (d time.Duration) {
	state := h.state
	for _, it := range h.items {
		if it.event.Kind == uart.KindSettings {
			state = state.merge(it.event)
		}
		d += withPinned(state).Coding.LineTime(len(it.data))
	}
	return d
}
