package bridge_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"telnetcpc/bridge/uart"
)

// The access server of the storm: TCP with delays and small buffers, a server that reads or does not, a UART that takes
// its time, and every fault of a bad day. It keeps everything it gets, so that a test can check it afterwards.

// habits are how sessions of a stormFar behave.
type habits struct {
	refuse  bool          // dials fail
	takes   time.Duration // how long a dial takes
	delay   int           // milliseconds at most, in each direction
	jitter  bool          // the delay varies
	send    int           // what our TCP takes ahead of the peer's; 0: nothing, not even the first settings
	receive int           // what the peer's TCP takes ahead of the server
	ahead   int           // what the server reads ahead of its line; negative: any number
	noMarks bool          // no mark is requested of it
	mute    bool          // marks are requested, and it answers none
	blind   bool          // our system reports nothing of TCP
	stays   bool          // our FIN is not answered
	dies    int           // it dies after so many bytes; 0: it does not
}

// stormFar is the remote.
type stormFar struct {
	mu       sync.Mutex
	change   *sync.Cond
	random   *rand.Rand
	diary    *diary
	habits   habits
	sessions []*stormSession
	dials    []time.Time
	failed   []time.Time // dials that failed
	over     bool        // the storm is over: servers end
	down     uint64      // bytes of the device that the bridge has read
	wrong    []string    // what must never happen, found on the way
}

func newStormFar(seed uint64, d *diary) *stormFar {
	f := &stormFar{random: rand.New(rand.NewPCG(seed, 1)), diary: d}
	f.change = sync.NewCond(&f.mu)
	return f
}

func (f *stormFar) String() string          { return "storm" }
func (f *stormFar) Fidelity() uart.Fidelity { return uart.FullFidelity }

// set changes something under the lock, and wakes everyone who waits.
func (f *stormFar) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.stir()
}

// stir wakes everyone who waits. The caller holds the lock.
func (f *stormFar) stir() {
	f.change.Broadcast()
	for _, s := range f.sessions {
		select {
		case s.poke <- struct{}{}:
		default:
		}
	}
}

var errAway = errors.New("away")

func (f *stormFar) Dial(ctx context.Context, _ uart.LineState) (uart.Session, error) {
	f.mu.Lock()
	f.dials = append(f.dials, time.Now())
	takes := f.habits.takes
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.habits.refuse {
		f.failed = append(f.failed, time.Now())
		return nil, errAway
	}
	s := &stormSession{far: f, habits: f.habits, poke: make(chan struct{}, 1), honest: !f.habits.mute && !f.habits.noMarks}
	s.line.coding = uart.DefaultCoding()
	f.sessions = append(f.sessions, s)
	f.diary.note("session %d: %+v", len(f.sessions)-1, s.habits)
	go s.run()
	return s, nil
}

// stormSession is one session: both ends and what lies between. far.mu guards all fields.
type stormSession struct {
	far    *stormFar
	habits habits
	poke   chan struct{}

	applied     uart.Coding // by Apply, in the order of the calls
	stated      bool        // it got a whole state
	given       []givenRun
	sent        int // bytes taken by our TCP
	acked, read int
	wire        []sent
	there, here int       // how much of wire has reached the server's TCP, and how many bytes that is
	last        time.Time // when what was sent last arrives
	line        stormLine
	marking     bool      // a mark is in flight
	markSince   time.Time // since when the bridge waits for the answer to a mark; zero: it does not
	in          []received
	inLast      time.Time

	stalled   bool      // the server reads nothing
	silent    time.Time // since when nothing arrives and nothing is acknowledged; zero: it does
	waits     time.Time // since when something of ours is unacknowledged
	suspended time.Time // since when the bridge knows that data is suspended
	ended     bool      // the server's FIN or RST is on its way, or has arrived
	fin       bool
	left      time.Time // when FIN was sent
	closed    bool
	died      bool // the server is gone; its line sends what it has
	lost      int  // bytes that had not left the line when the bridge ended its half
	unread    int  // bytes of the device that had arrived and were not read when the bridge closed it
	honest    bool // its answers and its TCP are enough to know what has left the line
}

// sent is what our TCP has taken, in order.
type sent struct {
	at     time.Time // when it arrives
	bytes  int
	coding uart.Coding
	purge  bool
	mark   bool
	fin    bool
	place  int // of a mark
}

// received is what comes from the server, in order.
type received struct {
	at    time.Time
	data  []byte
	event uart.Event
	err   error
}

// givenRun is records that a session got in one go.
type givenRun struct {
	first, last uint32
	began       time.Time // the Write
	coding      uart.Coding
}

// way is how long something is on its way. The caller holds the lock.
func (s *stormSession) way() time.Duration {
	if s.habits.delay == 0 {
		return 0
	}
	ms := s.habits.delay
	if s.habits.jitter {
		ms = s.far.random.IntN(ms + 1)
	}
	return time.Duration(ms) * time.Millisecond
}

func (s *stormSession) put(w sent) {
	w.at = laterOf(time.Now().Add(s.way()), s.last)
	s.last = w.at
	if k := len(s.wire) - 1; k >= s.there && s.wire[k].at.Equal(w.at) && s.wire[k].bytes > 0 && w.bytes > 0 {
		s.wire[k].bytes += w.bytes
	} else {
		s.wire = append(s.wire, w)
	}
	s.far.stir()
}

// deliver passes something to the bridge. The caller holds the lock.
func (s *stormSession) deliver(r received) {
	if s.ended || s.closed {
		return
	}
	s.ended = r.err != nil
	r.at = laterOf(time.Now().Add(s.way()), s.inLast)
	s.inLast = r.at
	s.in = append(s.in, r)
}

func laterOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// run is the server, and the way back. It ends when both ends are closed, and when the storm is over.
func (s *stormSession) run() {
	for {
		s.far.mu.Lock()
		next := s.pump(time.Now())
		over := s.far.over || s.died && s.closed
		if over {
			s.die(nil)
		}
		s.far.mu.Unlock()
		if over {
			return
		}
		timer := time.NewTimer(next)
		select {
		case <-s.poke:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pump moves what is due and returns how long until something else is. The caller holds the lock.
func (s *stormSession) pump(now time.Time) (next time.Duration) {
	next = time.Hour
	soon := func(d time.Duration) { next = min(next, max(d, time.Microsecond)) }
	defer func() { // after everything the server has just sent
		for _, r := range s.in {
			if r.at.After(now) {
				soon(r.at.Sub(now))
				break
			}
			s.far.change.Broadcast()
		}
	}()
	if s.died {
		return next
	}
	if s.silent.IsZero() {
		s.acknowledge(now)
	}
	s.know(now)
	for s.there > 0 && !s.stalled && !s.died && s.silent.IsZero() {
		w := &s.wire[0]
		if w.bytes > 0 {
			if !s.take(w, now) {
				soon(time.Duration(s.habits.ahead/4) * s.line.each())
				break
			}
			continue
		}
		done := *w
		s.wire, s.there = s.wire[1:], s.there-1
		s.obey(done, now)
	}
	if s.there < len(s.wire) && s.silent.IsZero() {
		soon(s.wire[s.there].at.Sub(now)) // it may be acknowledged then
	}
	return next
}

// know reports whether the server's answers and its TCP have always been enough to know what has left the line: the
// bridge waits 30 s for a mark's answer. The caller holds the lock.
func (s *stormSession) know(now time.Time) bool {
	if !s.markSince.IsZero() && now.Sub(s.markSince) >= 29*time.Second {
		s.honest = false
	}
	return s.honest
}

// acknowledge is the work of the server's TCP.
func (s *stormSession) acknowledge(now time.Time) {
	s.arrive(now)
	before := s.acked
	s.acked = max(s.acked, min(s.here, s.read+s.habits.receive))
	if s.acked != before || s.acked == s.sent {
		s.waits = time.Time{}
		s.far.change.Broadcast()
	}
}

// arrive counts what has reached the server.
func (s *stormSession) arrive(now time.Time) {
	for ; s.there < len(s.wire) && !s.wire[s.there].at.After(now); s.there++ {
		s.here += s.wire[s.there].bytes
	}
}

// take makes the server read bytes, and reports whether it has read all of w.
func (s *stormSession) take(w *sent, now time.Time) bool {
	n := w.bytes
	if s.habits.ahead >= 0 {
		n = min(n, (s.habits.ahead-s.line.waiting(now))&^3)
	}
	if n <= 0 {
		return false
	}
	w.bytes -= n
	s.read += n
	s.acked = max(s.acked, s.read)
	s.waits = time.Time{}
	s.line.take(now, n)
	s.far.change.Broadcast()
	if w.bytes == 0 {
		s.wire, s.there = s.wire[1:], s.there-1
	}
	if s.habits.dies > 0 && s.read >= s.habits.dies {
		s.die(errReset)
	}
	return true
}

// obey makes the server do what it reads, other than bytes.
func (s *stormSession) obey(w sent, now time.Time) {
	switch {
	case w.mark && !s.habits.mute:
		s.marking = false
		s.far.diary.note("a mark at %d is answered: %d read, %d sent", w.place, s.read, s.sent)
		s.deliver(received{event: uart.Event{Kind: uart.KindMarked, Bytes: uint64(w.place)}})
	case w.purge:
		s.line.purge(now)
	case w.fin:
		if !s.habits.stays {
			s.die(io.EOF)
		}
	case !w.mark:
		s.line.recode(now, w.coding)
		s.far.diary.note("the server gets %v, %d bytes wait", w.coding, s.line.waiting(now))
	}
}

// die ends the server. err is what the bridge sees; nil: nothing. The caller holds the lock.
func (s *stormSession) die(err error) {
	if s.died {
		return
	}
	s.died = true
	s.far.diary.note("the server dies, %v: %d given, %d acknowledged, %d read, %d gone", err, s.sent, s.acked, s.read, s.line.gone(time.Now()))
	if err != nil {
		s.deliver(received{err: err})
	}
	s.far.stir()
}
