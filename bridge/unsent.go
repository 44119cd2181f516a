package bridge

import (
	"sync"
	"time"

	"telnetcpc/bridge/uart"
)

const (
	// serverBuffer is how many bytes an access server is assumed to hold between TCP and its UART: a FIN right behind
	// an answered mark lost up to so many at a real one.
	serverBuffer = 4 << 10
	// markPoll is how soon to ask again while a mark is under way.
	markPoll = 5 * time.Millisecond
	// markPatience is how long an answer to a mark is waited for before drain rests on computation alone.
	markPatience = 30 * time.Second
)

// unsent reckons how long the far UART still needs, from what was written, what TCP says was acknowledged, and which
// marks came back. It does no I/O; every method may be called by anyone.
type unsent struct {
	mu     sync.Mutex // over all fields
	coding uart.Coding
	given  uint64    // data bytes of this session given to TCP
	marked uint64    // of those, the ones before the last answered mark
	out    uint64    // of those, the ones that had left the far UART, as far as known, when left last said 0
	empty  time.Time // when the far UART has sent what it got, if nothing holds it back
	line   time.Time // when the line can have carried all that was given, at the earliest
}

// start begins a session with this line coding: nothing is under way.
func (u *unsent) start(c uart.Coding) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.coding, u.given, u.marked, u.out, u.empty, u.line = c, 0, 0, 0, time.Time{}, time.Time{}
}

// recode says the line coding that later bytes go out with.
func (u *unsent) recode(c uart.Coding) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.coding = c
}

// gave counts n bytes given to TCP.
func (u *unsent) gave(n int) {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.given += uint64(n)
	if u.empty.Before(now) {
		u.empty = now
	}
	if u.line.Before(now) {
		u.line = now
	}
	u.empty, u.line = u.empty.Add(u.coding.LineTime(n)), u.line.Add(u.coding.LineTime(n))
}

// answered takes a mark's answer: the server has taken the first n bytes from TCP. Of those at most serverBuffer are
// still in it; and when the answer came later than the line needed by computation, the server is slower than its
// line (flow control), and may hold that many.
func (u *unsent) answered(n uint64) {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if n <= u.marked {
		return
	}
	held := int(min(n-min(n, max(u.marked, u.out)), serverBuffer))
	behind := int(u.given - n)
	u.marked = n
	bound := now.Add(u.coding.LineTime(held + behind))
	if u.empty.Before(now) || u.empty.After(bound) {
		u.empty = bound
	}
}

// transmitterEmpty takes the server's TEMT: where nothing was given since the last answered mark, the line is quiet. A
// server that looks at its UART beside its connection may say so of the bytes before, behind the answer to the mark: one
// that comes sooner than the line can have carried the bytes is not of them.
func (u *unsent) transmitterEmpty() {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.given == u.marked && !now.Before(u.line) {
		u.empty = time.Time{}
	}
}

// left is how long the far UART still needs at least, when TCP has unacked bytes (negative: not known) on the way.
func (u *unsent) left(unacked int) time.Duration {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if unacked > 0 {
		// Bytes that have not arrived have not begun; the count is of escaped bytes, so it is never too small.
		if atLeast := now.Add(u.coding.LineTime(min(unacked, int(u.given-u.marked)))); u.empty.Before(atLeast) {
			u.empty = atLeast
		}
	}
	if u.empty.After(now) {
		return u.empty.Sub(now)
	}
	if u.marked == u.given {
		u.out = u.given // what comes later has its own line time, perhaps at another coding
	}
	return 0
}

// sinceMark is how many bytes were given since the last answered mark.
func (u *unsent) sinceMark() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.given - u.marked
}

// held is how many of the bytes before the last answered mark the server may not have given to its UART yet.
func (u *unsent) held() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return min(u.marked, serverBuffer)
}
