package bridge

import (
	"sync"
	"time"

	"telnetcpc/bridge/uart"
)

const (
	// serverBuffer is how many bytes an access server is assumed to hold beyond those that the line time accounts for: a FIN
	// right after an answered mark has lost that many at a real server.
	serverBuffer = 4 << 10
	// markPause is how long nothing must have been written before a mark is requested, if a program may want to know what
	// has left. The answer gives the latest time at which the bytes arrived: a late mark makes the end of their transmission
	// look late.
	markPause = time.Millisecond
	// markUnasked is how many checks for a pause may follow each other without a call of Unsent. After that, marks are
	// requested only every markEvery: a program that exchanges a thousand messages a second and never drains does not load a
	// radio link with marks.
	markUnasked = 16
	// ackFirst and ackMost bound the time until the next check of bytes that TCP has not acknowledged: nothing reports an
	// acknowledgement. Within these bounds it is a quarter of the time since the last bytes were written.
	ackFirst, ackMost = time.Millisecond, 20 * time.Millisecond
	// recheckMost is the time until the next check of what the notifier also reports.
	recheckMost = time.Second
	// markPatience is how long to wait for the answer to a mark. After that, drain relies on computed line time until a mark
	// is answered.
	markPatience = 30 * time.Second
	// markEvery and markBytes are how long, and how many bytes, may pass before the next mark is requested. They keep the
	// bound of a loss tight and the end of a drain precise, at the cost of 3 bytes each way per mark.
	markEvery = 250 * time.Millisecond
	markBytes = 64 << 10
)

// unsent estimates how long the far UART still needs, from what was written, what TCP reports as acknowledged, and which
// marks were answered. Two times bound when the last byte leaves: not before line; and, if only the line's speed holds it
// back, by end. A server may buffer any number of bytes, so an answered mark shows when bytes have reached the server,
// never that they have left its UART. It does no I/O; after start every method may be called from any goroutine.
type unsent struct {
	mu     sync.Mutex // guards all fields and makes each method one step
	coding uart.Coding

	// Positions: numbers of data bytes of this session.
	written      uint64 // given to TCP
	marked       uint64 // of those: before the last answered mark
	answeredUpTo uint64 // the position of that mark; above written while the Write before it has not returned yet
	requested    uint64 // written when the last mark was due because of markBytes
	out          uint64 // known to have left the far UART
	visit        uint64 // the visit in which the last bytes were written

	first      time.Time // since when bytes wait for a mark: the first of them was written, or the mark before them was answered
	last       time.Time // when bytes were last written
	lineBefore time.Time // line for the bytes written before that visit
	line       time.Time // the earliest time by which the line can have carried everything written
	markedEnd  time.Time // the latest time by which the line has carried everything marked
	end        time.Time // the estimated time by which the line has carried everything written; never before line

	codings []codingFrom // of the bytes after out, oldest first
}

// codingFrom is a line coding, and the position of the first byte that goes out with it.
type codingFrom struct {
	from   uint64
	coding uart.Coding
}

// codingsMost limits how many line codings are remembered for bytes that are not out; beyond it the oldest two are merged
// into the slower one.
const codingsMost = 32

// start begins a session with this line coding and nothing in flight. It must be called before all other methods.
func (u *unsent) start(c uart.Coding) { u.coding, u.codings = c, []codingFrom{{0, c}} }

// recode sets the line coding of later bytes.
func (u *unsent) recode(c uart.Coding) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.recodeLocked(c)
}

// recodePart is recode for the fields that are set.
func (u *unsent) recodePart(c uart.Coding) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.recodeLocked(c.Over(u.coding))
}

func (u *unsent) recodeLocked(c uart.Coding) {
	if c == u.coding {
		return
	}
	u.coding = c
	u.noteOut(time.Now())
	if n := len(u.codings); u.codings[n-1].from == u.written {
		u.codings[n-1].coding = c
		return
	}
	if len(u.codings) == codingsMost {
		if first := u.codings[0].coding; first.LineTime(1) > u.codings[1].coding.LineTime(1) {
			u.codings[1].coding = first
		}
		u.codings = append(u.codings[:0], u.codings[1:]...)
	}
	u.codings = append(u.codings, codingFrom{u.written, c})
}

// noteOut records that all bytes are out, if that is known: later bytes have their own line time, perhaps at another coding.
// The caller holds mu.
func (u *unsent) noteOut(now time.Time) {
	if u.marked == u.written && !now.Before(u.end) {
		u.out = u.written
		for len(u.codings) > 1 && u.codings[1].from <= u.out {
			u.codings = u.codings[1:]
		}
	}
}

// lineTime is how long the line needs for the bytes from position a up to b, each at its coding. The caller holds mu.
func (u *unsent) lineTime(a, b uint64) (d time.Duration) {
	for i, c := range u.codings {
		from, to := max(a, c.from), b
		if i == 0 {
			from = a
		}
		if i+1 < len(u.codings) {
			to = min(b, u.codings[i+1].from)
		}
		if from < to {
			d += c.coding.LineTime(int(to - from))
		}
	}
	return d
}

// wrote counts n bytes of this visit that TCP has taken in a Write that began at that time. first: they are the first after
// an answered mark; many: a mark is due because of markBytes.
func (u *unsent) wrote(n int, began time.Time, visit uint64) (first, many bool) {
	if n == 0 {
		return false, false
	}
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.noteOut(now)
	if visit != u.visit {
		u.visit, u.lineBefore = visit, u.line
	}
	if first = u.written == u.marked; first {
		u.first = now
	}
	u.written += uint64(n)
	u.last = now
	took := u.coding.LineTime(n)
	u.line = later(u.line, began).Add(took) // from the start of the Write: the device may answer before it returns
	u.end = later(u.end, now).Add(took)
	if u.answeredUpTo > u.marked { // the mark after them was answered before their Write returned
		u.advanceMarked(now)
	}
	if many = u.written-max(u.marked, u.requested) >= markBytes; many {
		u.requested = u.written
	}
	return first, many
}

// answered records the answer to a mark: the server has taken the first n bytes from TCP, the last of them perhaps just
// now. It reports whether more was written since.
func (u *unsent) answered(n uint64) (more bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.first = time.Now()
	u.answeredUpTo = max(u.answeredUpTo, n)
	u.advanceMarked(u.first)
	return u.written > u.marked
}

// advanceMarked advances marked to what the answers have confirmed. The caller holds mu.
func (u *unsent) advanceMarked(now time.Time) {
	n := min(u.answeredUpTo, u.written)
	if n <= u.marked {
		return
	}
	u.markedEnd = later(u.markedEnd, now).Add(u.lineTime(max(u.marked, min(u.out, n)), n))
	u.marked = n
	u.end = later(u.line, u.markedEnd.Add(u.lineTime(n, u.written)))
}

// transmitterEmpty records the server's TEMT: if nothing was written since the last answered mark, the line is idle. A
// server that polls its UART independently of its connection may report TEMT for earlier bytes after the answer to the
// mark: a TEMT that comes before the line can have carried the bytes is ignored.
func (u *unsent) transmitterEmpty() {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.written == u.marked && !now.Before(u.line) {
		u.markedEnd, u.end = now, now
	}
}

// purged records that a purge was sent for what is not out: the line may be idle from now on.
func (u *unsent) purged() {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.line, u.lineBefore = minTime(u.line, now), minTime(u.lineBefore, now)
}

// earliest returns the earliest time by which the line can have carried what was written before this visit.
func (u *unsent) earliest(visit uint64) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.visit >= visit {
		return u.lineBefore
	}
	return u.line
}

// since returns since when bytes have waited for an answered mark after them, and when the last of them were written; ok
// is false if there are none.
func (u *unsent) since() (first, last time.Time, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.first, u.last, u.written > u.marked
}

// left returns, if TCP has this many unacknowledged bytes (negative: unknown), an estimate of how long the far UART still
// needs, of how many bytes it has, and the time until the next check. All are 0 when it is empty.
func (u *unsent) left(unacked int) (left time.Duration, bytes int, recheck time.Duration) {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if unacked > 0 && u.written > u.marked {
		recheck = min(max(now.Sub(u.last)/4, ackFirst), ackMost)
		// The line has not begun to send bytes that have not arrived; unacked counts escaped bytes, so it is never too small.
		few := min(uint64(unacked), u.written-u.marked)
		u.end = later(u.end, now.Add(u.lineTime(u.written-few, u.written)))
	}
	u.noteOut(now)
	if left = u.end.Sub(now); left <= 0 {
		return 0, 0, 0
	}
	return left, int(u.queued(u.written, left)), max(left, recheck)
}

// sinceMark returns how many bytes were written since the last answered mark.
func (u *unsent) sinceMark() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.written - u.marked
}

// progress returns how many bytes were written, how many are marked, and until when bytes may be leaving the far UART
// although nothing else shows it: the later of line and markedEnd.
func (u *unsent) progress() (written, marked uint64, leaving time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.written, u.marked, later(u.line, u.markedEnd)
}

// atRisk returns an upper bound of the bytes that are lost if the session ended at that time: those after the last
// answered mark, and of those before it as many as the line may not have carried, or the server's buffer may hold. The
// bound is too low if flow control has stopped the server's line.
func (u *unsent) atRisk(at time.Time) uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.written - u.marked + min(u.marked, max(u.queued(u.marked, u.markedEnd.Sub(at)), serverBuffer))
}

// queued returns how many of the bytes before position to, counted back from the last one, the line carries in the time
// left. The caller holds mu.
func (u *unsent) queued(to uint64, left time.Duration) (n uint64) {
	for i := len(u.codings) - 1; i >= 0 && left > 0; i-- {
		from, each := u.codings[i].from, max(u.codings[i].coding.LineTime(1), 1)
		if i == 0 {
			from = 0
		}
		if from >= to {
			continue
		}
		some := min(to-from, uint64(left/each)+1)
		n += some
		left -= time.Duration(some) * each
		to = from
	}
	return n
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
