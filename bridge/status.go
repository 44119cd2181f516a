package bridge

import (
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// LinkState says how a bridge stands with its remote.
type LinkState string

const (
	LinkNoPort     LinkState = "no port"    // it is made, or made again after a hangup
	LinkIdle       LinkState = "idle"       // nobody wants a session
	LinkConnecting LinkState = "connecting" // dialing, or waiting to dial again
	LinkUp         LinkState = "up"
	LinkClosing    LinkState = "closing" // the last bytes are on their way out
)

// Loss is what a bridge says when a session is lost.
type Loss struct {
	Time      time.Time
	Cause     string
	Unacked   int    // bytes that TCP had been given and the peer had not acknowledged; -1: not known here
	SinceMark uint64 // bytes given since the last answered mark
	AtMost    uint64 // upper bound of the bytes lost: SinceMark, and what the server may have held before the mark
	Unread    int    // bytes that had come and the application had not read; they are dropped
}

// Snapshot is a copy of what a bridge knows of itself, safe to keep.
type Snapshot struct {
	Name, Path, Device, Remote string

	Link    LinkState
	Since   time.Time // when Link became what it is
	Opened  bool      // an application has the port open
	Missing uart.Fidelity
	Wanted  uart.Event // KindSettings: what is to be in force at the far UART
	Modem   uart.ModemState
	Error   string // why there is no session, where one is wanted

	ChangeWaits    time.Time  // since when a change of settings waits for the bytes before it, where that is long; zero: none does
	SuspendedSince time.Time  // since when the access server takes no data; zero: it does
	Changed        uart.Event // KindChanged: the line coding that somebody else has set at the access server, the last time

	Held                   int    // bytes that wait for a session
	UpBytes, DownBytes     uint64 // given to TCP; taken by the application's port
	UpDropped, DownDropped uint64 // bytes
	BreaksDropped          uint64
	GreetingDropped        uint64 // bytes that access servers said before they first answered: no device's, and in no other count
	Sessions, Losses       uint64
	LastLoss               Loss
	LostAtMost             uint64   // of all sessions that ended with bytes under way: the upper bounds together
	Refused                []string // settings that the access server did not accept, as log lines
}

// counters are written on the hot path: atomics, each for display only.
type counters struct {
	up, down, upDropped, downDropped, breaksDropped, greetingDropped atomic.Uint64
}

// board is what Status copies from. Its lock is held over no I/O and no other lock.
type board struct {
	mu   sync.Mutex
	snap Snapshot
}

func (b *board) set(f func(*Snapshot)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.snap)
}

func (b *board) link(l LinkState) {
	b.set(func(s *Snapshot) {
		if s.Link != l {
			s.Link, s.Since = l, time.Now()
		}
	})
}

// Status returns a copy of the bridge's state.
func (b *Bridge) Status() Snapshot {
	b.board.mu.Lock()
	s := b.board.snap
	s.Refused = append([]string(nil), s.Refused...)
	b.board.mu.Unlock()
	if r := b.present.Load(); r != nil {
		s.Held = r.link.holds()
	}
	c := &b.count
	s.UpBytes, s.DownBytes = c.up.Load(), c.down.Load()
	s.UpDropped, s.DownDropped, s.BreaksDropped = c.upDropped.Load(), c.downDropped.Load(), c.breaksDropped.Load()
	s.GreetingDropped = c.greetingDropped.Load()
	return s
}

// Watch lets the observer see what passes from now on, until stop is called. Both may be called by anyone.
func (b *Bridge) Watch(o *Observer) (stop func()) { return b.tap.watch(o) }
