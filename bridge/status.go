package bridge

import (
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// LinkState is the state of a bridge's connection to its remote.
type LinkState string

const (
	LinkNoPort     LinkState = "no port"    // the port is being created, or created again after a hangup
	LinkIdle       LinkState = "idle"       // no session is wanted
	LinkConnecting LinkState = "connecting" // dialing, or waiting to dial again
	LinkUp         LinkState = "up"
	LinkClosing    LinkState = "closing" // the last bytes are on their way out
)

// Loss describes the end of a session that may have cost bytes.
type Loss struct {
	Time      time.Time
	Cause     string
	Unacked   int    // bytes that TCP had taken and the peer had not acknowledged; -1: unknown on this system
	SinceMark uint64 // bytes written since the last answered mark
	AtMost    uint64 // upper bound of the bytes lost: SinceMark, and what the server may have held before the mark
	Unread    int    // bytes that had arrived and the application had not read; they are dropped
}

// Snapshot is a copy of a bridge's state, safe to keep.
type Snapshot struct {
	Name, Path, Device, Remote string

	Link    LinkState
	Since   time.Time // when Link changed last
	Opened  bool      // an application has the port open
	Missing uart.Fidelity
	Wanted  uart.Event // KindSettings: the settings that the far UART should have
	Modem   uart.ModemState
	Error   string // why there is no session although one is wanted

	ChangeWaits    time.Time  // since when a change of settings waits for the bytes before it; zero: none has waited for long
	SuspendedSince time.Time  // since when the access server has suspended data; zero: it has not
	Changed        uart.Event // KindChanged: the line coding that another client has set at the access server last

	Held                   int    // bytes that wait for a session
	UpBytes, DownBytes     uint64 // bytes given to TCP; bytes given to the application
	UpDropped, DownDropped uint64 // bytes
	BreaksDropped          uint64
	GreetingDropped        uint64 // bytes that access servers sent before they first answered; not in any other count
	Sessions, Losses       uint64
	LastLoss               Loss
	LostAtMost             uint64   // the sum of Loss.AtMost over all sessions
	Refused                []string // settings that the access server did not accept, as log lines
}

// counters are counts of bytes and breaks, for status and logs, and for Run to see whether they have changed. They are
// atomic because the hot path writes them.
type counters struct {
	up, down, upDropped, downDropped, breaksDropped, greetingDropped atomic.Uint64
}

// status is what Status copies from. mu makes each update one step for readers; it is held over no I/O and no other lock.
type status struct {
	mu       sync.Mutex
	snapshot Snapshot
}

func (st *status) update(f func(*Snapshot)) {
	st.mu.Lock()
	defer st.mu.Unlock()
	f(&st.snapshot)
}

func (st *status) setLink(l LinkState) {
	st.update(func(s *Snapshot) {
		if s.Link != l {
			s.Link, s.Since = l, time.Now()
		}
	})
}

// Status returns a copy of the bridge's state.
func (b *Bridge) Status() Snapshot {
	b.status.mu.Lock()
	s := b.status.snapshot
	s.Refused = append([]string(nil), s.Refused...)
	b.status.mu.Unlock()
	if r := b.current.Load(); r != nil {
		s.Held = r.link.heldBytes()
	}
	c := &b.count
	s.UpBytes, s.DownBytes = c.up.Load(), c.down.Load()
	s.UpDropped, s.DownDropped, s.BreaksDropped = c.upDropped.Load(), c.downDropped.Load(), c.breaksDropped.Load()
	s.GreetingDropped = c.greetingDropped.Load()
	return s
}

// Watch gives the observer a record of everything that passes from now on, until stop is called. It may be called from
// any goroutine.
func (b *Bridge) Watch(o *Observer) (stop func()) { return b.observers.watch(o) }
