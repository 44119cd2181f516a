package bridge

import (
	"sync"
	"time"

	"telnetcpc/bridge/uart"
)

const (
	// serverBuffer is how many bytes an access server is assumed to hold behind its line's time: a FIN right behind an
	// answered mark lost up to so many at a real one.
	serverBuffer = 4 << 10
	// markPause is how long nothing must have been given for the mark behind it to be asked for, where somebody wants to
	// know. Its answer says when the bytes had come at the latest: a late mark makes the line's end look as late.
	markPause = time.Millisecond
	// markUnasked is how many looks for a pause in a row may have been of no use to anybody: a program that exchanges a
	// thousand messages a second and never drains pays for markEvery alone, on a radio link too.
	markUnasked = 16
	// ackFirst and ackMost bound how soon to look again at bytes that TCP has not acknowledged and no mark will tell of:
	// nothing else tells. In between the next look comes when the last bytes are a quarter older.
	ackFirst, ackMost = time.Millisecond, 20 * time.Millisecond
	// lookAgain is when to look again at what makes itself heard.
	lookAgain = time.Second
	// markPatience is how long an answer to a mark is waited for before drain rests on computation, until one is answered.
	markPatience = 30 * time.Second
	// markEvery and markBytes are how long, and how many bytes, may pass before the next mark is asked for. So a loss is
	// stated closely, and the line's end is known closely at a drain, for 6 bytes each way and tick.
	markEvery = 250 * time.Millisecond
	markBytes = 64 << 10
)

// unsent reckons how long the far UART still needs, from what was written, what TCP says was acknowledged, and which
// marks came back. Two clocks bound the truth: the line cannot have carried the bytes sooner than line; and if nothing
// but its speed holds it back, they are out by end. A server may take any number of bytes ahead of its line, so an
// answered mark says when bytes have come to it and never that they have left it. It does no I/O; every method may be
// called by anyone.
type unsent struct {
	mu     sync.Mutex // over all fields
	coding uart.Coding
	given  uint64 // data bytes of this session given to TCP
	marked uint64 // of those, the ones before the last answered mark
	taken  uint64 // what that mark's answer said: a write may not have returned yet
	asked  uint64 // given when the last mark was due for the number of bytes
	out    uint64 // of those, the ones that are known to have left the far UART
	visit  uint64 // in which the last of them were written

	first  time.Time // when the first bytes behind the last answered mark were given, or, where some were, when it was answered
	last   time.Time // when something was given last
	before time.Time // line, of what was written before that visit
	line   time.Time // when the line can have carried all that was given, at the earliest
	came   time.Time // when the line has carried all that is marked, at the latest
	end    time.Time // when the line has carried all that was given, as far as known; never before line

	codings []recoded // of the bytes behind out, oldest first
}

// recoded is a line coding, and the first byte that goes out with it.
type recoded struct {
	from   uint64
	coding uart.Coding
}

// recodedMost bounds how many line codings are remembered for bytes that are not out; then the oldest two count as one,
// the slower.
const recodedMost = 32

// start begins a session with this line coding: nothing is under way. It comes before every other call.
func (u *unsent) start(c uart.Coding) { u.coding, u.codings = c, []recoded{{0, c}} }

// recode says the line coding that later bytes go out with.
func (u *unsent) recode(c uart.Coding) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.change(c)
}

// recodeSome is recode, for the fields that are said.
func (u *unsent) recodeSome(c uart.Coding) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.change(c.Over(u.coding))
}

// change is recode. The caller holds the lock.
func (u *unsent) change(c uart.Coding) {
	if c == u.coding {
		return
	}
	u.coding = c
	u.allOut(time.Now())
	if n := len(u.codings); u.codings[n-1].from == u.given {
		u.codings[n-1].coding = c
		return
	}
	if len(u.codings) == recodedMost {
		if first := u.codings[0].coding; first.LineTime(1) > u.codings[1].coding.LineTime(1) {
			u.codings[1].coding = first
		}
		u.codings = append(u.codings[:0], u.codings[1:]...)
	}
	u.codings = append(u.codings, recoded{u.given, c})
}

// allOut notes that all bytes are out, where that is known: what comes later has its own line time, perhaps at another
// coding. The caller holds the lock.
func (u *unsent) allOut(now time.Time) {
	if u.marked == u.given && !now.Before(u.end) {
		u.out = u.given
		for len(u.codings) > 1 && u.codings[1].from <= u.out {
			u.codings = u.codings[1:]
		}
	}
}

// lineTime is how long the line needs for the bytes from position a up to b, each at its coding. The caller holds the
// lock.
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

// gave counts n bytes given to TCP from a time on, which were written in this visit: after so many closes. first: they are
// the first behind an answered mark; many: a mark is due for their number.
func (u *unsent) gave(n int, began time.Time, visit uint64) (first, many bool) {
	if n == 0 {
		return false, false
	}
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.allOut(now)
	if visit != u.visit {
		u.visit, u.before = visit, u.line
	}
	if first = u.given == u.marked; first {
		u.first = now
	}
	u.given += uint64(n)
	u.last = now
	took := u.coding.LineTime(n)
	u.line = later(u.line, began).Add(took) // on a busy machine the answer may come sooner than the write returns
	u.end = later(u.end, now).Add(took)
	if u.taken > u.marked { // the mark behind them was answered before the write of them returned
		u.take(now)
	}
	if many = u.given-max(u.marked, u.asked) >= markBytes; many {
		u.asked = u.given
	}
	return first, many
}

// answered takes a mark's answer: the server has taken the first n bytes from TCP, the last of them perhaps just now.
// It reports whether more was given since.
func (u *unsent) answered(n uint64) (more bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.first = time.Now()
	u.taken = max(u.taken, n)
	u.take(u.first)
	return u.given > u.marked
}

// take moves the mark up to what the server has taken of the bytes given. The caller holds the lock.
func (u *unsent) take(now time.Time) {
	n := min(u.taken, u.given)
	if n <= u.marked {
		return
	}
	u.came = later(u.came, now).Add(u.lineTime(max(u.marked, min(u.out, n)), n))
	u.marked = n
	u.end = later(u.line, u.came.Add(u.lineTime(n, u.given)))
}

// transmitterEmpty takes the server's TEMT: where nothing was given since the last answered mark, the line is quiet. A
// server that looks at its UART beside its connection may say so of the bytes before, behind the answer to the mark: one
// that comes sooner than the line can have carried the bytes is not of them.
func (u *unsent) transmitterEmpty() {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.given == u.marked && !now.Before(u.line) {
		u.came, u.end = now, now
	}
}

// purged notes that what is not out has been thrown away: at once, at the earliest.
func (u *unsent) purged() {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.line, u.before = minTime(u.line, now), minTime(u.before, now)
}

// earliest is when the line can have carried what was given in the visits before this one, at the earliest.
func (u *unsent) earliest(visit uint64) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.visit >= visit {
		return u.before
	}
	return u.line
}

// since is since when bytes have had no answered mark behind them, and when the last of them were given; ok is false
// where there are none.
func (u *unsent) since() (first, last time.Time, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.first, u.last, u.given > u.marked
}

// left is how long the far UART still needs as far as can be known, when TCP has unacked bytes (negative: not known) on
// the way; how many bytes it then has; and when to look again. All are 0 when it is empty.
func (u *unsent) left(unacked int) (left time.Duration, bytes int, again time.Duration) {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if unacked > 0 && u.given > u.marked {
		again = min(max(now.Sub(u.last)/4, ackFirst), ackMost)
		// Bytes that have not arrived have not begun; the count is of escaped bytes, so it is never too small.
		few := min(uint64(unacked), u.given-u.marked)
		u.end = later(u.end, now.Add(u.lineTime(u.given-few, u.given)))
	}
	u.allOut(now)
	if left = u.end.Sub(now); left <= 0 {
		return 0, 0, 0
	}
	return left, int(u.queued(u.given, left)), max(left, again)
}

// sinceMark is how many bytes were given since the last answered mark.
func (u *unsent) sinceMark() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.given - u.marked
}

// progress tells how far the bytes are: how many were given, how many marked, and until when they may be leaving with
// nothing else to show for it: the line cannot have carried them sooner, or need not have carried what is marked.
func (u *unsent) progress() (given, marked uint64, leaving time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.given, u.marked, later(u.line, u.came)
}

// atRisk is an upper bound of the bytes that are lost when the session has ended at that time: those behind the last answered mark, and
// of those before it as many as the line may not have carried, or the server's buffer may hold. It knows nothing of a
// server whose line is held back by flow control.
func (u *unsent) atRisk(at time.Time) uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.given - u.marked + min(u.marked, max(u.queued(u.marked, u.came.Sub(at)), serverBuffer))
}

// queued is how many bytes, the ones up to this position counted from the last, the line carries in this time. The caller
// holds the lock.
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
