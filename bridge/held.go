package bridge

import (
	"time"

	"telnetcpc/bridge/uart"
)

const (
	// heldBytes and heldEvents are how much is held for the next session before the application is held back.
	heldBytes, heldEvents = 64 << 10, 256
	// heldPieces is into how many pieces HoldFor is cut: bytes that came within one are one piece, as old as its first.
	heldPieces = 64
)

// held is what the application did and no session has been given: bytes with the time at which they came, and changes at
// their places between them. So each byte goes out at the line coding that it was written at. It has no lock.
type held struct {
	keep   time.Duration // Policy.HoldFor; 0: nothing is held
	items  []item        // oldest first
	bytes  int           // in items
	events int           // in items, closes not counted
	state  settings      // the application's, ahead of the first item
	open   uint64        // how often the port was opened

	// resend gives the bytes of the first item to a session: they cannot be called back now, and nothing is added to
	// them. Where they were to be dropped, what the session leaves of them is; purged: the application has thrown them
	// away itself.
	inUse, doomed, purged bool
}

// item is one place: bytes, a change, or the end of an open.
type item struct {
	data  []byte
	event uart.Event
	at    time.Time // of data, when its first byte came; of a KindClosed, when that was
	open  uint64    // of both, the open in which that was
	visit uint64    // of data, after how many closes it came
}

func (it item) isData() bool  { return it.data != nil }
func (it item) isClose() bool { return it.event.Kind == uart.KindClosed }

// empty reports whether there is nothing to send. A close is nothing to send.
func (h *held) empty() bool { return h.bytes == 0 && h.events == 0 }

// push takes bytes that came at the time at, after so many closes, as many as there is room for, and returns how many.
func (h *held) push(p []byte, at time.Time, visit uint64) int {
	n := min(len(p), heldBytes-h.bytes)
	if n <= 0 || h.events >= heldEvents {
		return 0
	}
	h.bytes += n
	if last := len(h.items) - 1; last > 0 || last == 0 && !h.inUse {
		if it := &h.items[last]; it.isData() && it.open == h.open && it.visit == visit && at.Sub(it.at) <= h.keep/heldPieces {
			it.data = append(it.data, p[:n]...)
			return n
		}
	}
	h.items = append(h.items, item{data: append([]byte(nil), p[:n]...), at: at, open: h.open, visit: visit})
	return n
}

// add takes a change to its place.
func (h *held) add(e uart.Event) {
	h.items = append(h.items, item{event: e})
	h.events++
}

// fold takes a change of settings that comes while there is no session: into the state where nothing is ahead of it. A
// break is nobody's. Where too many wait it goes into the change before it, or the oldest bytes are dropped, and their
// number is returned: a change never waits for a session.
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

// closed notes the end of an open, whose bytes do not wait for ever.
func (h *held) closed(at time.Time) {
	if h.bytes > 0 {
		h.items = append(h.items, item{event: uart.Event{Kind: uart.KindClosed}, at: at, open: h.open})
	}
}

// tooOld is how many items at the front hold bytes that are dropped because newer ones came at the time newest. Those of
// the open fresh and of later ones are not old yet.
func (h *held) tooOld(newest time.Time, fresh uint64) (n int) {
	if h.keep == Forever {
		return 0
	}
	for i, it := range h.items {
		if !it.isData() {
			continue
		}
		if newest.Sub(it.at) <= h.keep || it.open >= fresh {
			return n
		}
		n = i + 1
	}
	return n
}

// newest is when the newest bytes came; ok is false where there are none.
func (h *held) newest() (at time.Time, ok bool) {
	for i := len(h.items) - 1; i >= 0; i-- {
		if h.items[i].isData() {
			return h.items[i].at, true
		}
	}
	return at, false
}

// expired is how many items at the front belong to opens before fresh that were closed HoldFor ago, and when the next ones
// are due; zero: there are none.
func (h *held) expired(now time.Time, fresh uint64) (n int, due time.Time) {
	if h.keep == Forever {
		return 0, due
	}
	for i, it := range h.items {
		if !it.isClose() {
			continue
		}
		if it.open >= fresh {
			break
		}
		if until := it.at.Add(h.keep); now.Before(until) {
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

// drop throws away the bytes of the first n items and returns how many they were; the changes among them, and right
// behind, go into the state. What resend is giving to a session stays until it has.
func (h *held) drop(n int) (dropped int) {
	if n > 0 && h.inUse {
		h.doomed = true
		return h.dropFrom(1, n)
	}
	dropped = h.dropFrom(0, n)
	for len(h.items) > 0 && h.items[0].event.Kind == uart.KindSettings && h.items[0].event.Control.Break == 0 {
		h.take(0)
	}
	return dropped
}

// dropFrom drops the items from the one up to the other.
func (h *held) dropFrom(from, to int) (dropped int) {
	for i := from; i < to; i++ {
		dropped += len(h.items[from].data)
		h.take(from)
	}
	return dropped
}

// take takes an item out: a change goes into the state.
func (h *held) take(i int) {
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
		h.items = nil // what held much holds nothing any more
	}
}

// purge is dropBytes, for the application.
func (h *held) purge() (dropped int) {
	h.purged = h.purged || h.inUse && !h.doomed
	return h.dropBytes()
}

// dropBytes throws away all bytes and returns how many they were; the changes stay, in their order.
func (h *held) dropBytes() (dropped int) {
	from := 0
	if h.inUse {
		h.doomed = true
		from = 1
	}
	for i := from; i < len(h.items); {
		if it := h.items[i]; it.isData() || it.isClose() {
			dropped += len(it.data)
			h.take(i)
			continue
		}
		i++
	}
	return dropped
}

// unlink forgets what makes no sense without a session, breaks and purges, and returns how many breaks that were. The
// changes that then have no byte ahead of them go into the state.
func (h *held) unlink() (breaks int) {
	for i := 0; i < len(h.items); {
		e := &h.items[i].event
		if e.Control.Break != 0 {
			e.Control.Break = 0
			breaks++
		}
		if e.Kind == uart.KindPurge || e.Kind == uart.KindSettings && i == 0 {
			h.take(i)
			continue
		}
		i++
	}
	return breaks
}

// next is what is to be sent first: bytes, which stay, and after how many closes they came, or a change, which is taken out and in the state: where the session
// is lost before it is told, later changes come over it and not under it. ok is false where there is nothing.
func (h *held) next() (p []byte, visit uint64, e uart.Event, ok bool) {
	for len(h.items) > 0 {
		it := h.items[0]
		if it.isData() {
			return it.data, it.visit, e, true
		}
		h.take(0)
		if !it.isClose() {
			return nil, 0, it.event, true
		}
	}
	return nil, 0, e, false
}

// gave notes that a session has taken n of the bytes in use, and returns how many of the rest are dropped, and whether the
// application has purged them.
func (h *held) gave(n int) (dropped int, purged bool) {
	purged = h.purged
	h.inUse, h.purged = false, false
	h.items[0].data = h.items[0].data[n:]
	h.bytes -= n
	if h.doomed || len(h.items[0].data) == 0 {
		dropped = len(h.items[0].data)
		h.take(0)
	}
	h.doomed = false
	return dropped, purged
}

// lineTime is how long the line needs for what is held.
func (h *held) lineTime(inForce func(settings) settings) (d time.Duration) {
	state := h.state
	for _, it := range h.items {
		if it.event.Kind == uart.KindSettings {
			state = state.merge(it.event)
		}
		d += inForce(state).Coding.LineTime(len(it.data))
	}
	return d
}
