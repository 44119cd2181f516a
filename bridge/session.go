package bridge

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// session is one session with all that belongs to it: what was given and marked, what it was told, what it said of the
// device, and Run's clocks over it. It dies with them: whatever is read late of it is booked here, and not on the next.
type session struct {
	uart.Session
	unsent unsent

	told    settings      // what it was told. The one who sends alone: the dial's goroutine, then resend or up
	writing atomic.Uint64 // bytes inside Write, given or not; for the upper bound of a loss, and for down
	wrote   atomic.Uint64 // after so many closes they were written

	counted   atomic.Bool         // it was closed over bytes of the device, and they are counted
	leaving   atomic.Bool         // FIN is due, or sent: nobody gives it bytes any more
	lost      atomic.Pointer[end] // the first word counts; nil: it stands
	suspended atomic.Int64        // since when the access server takes no data, in Unix nanoseconds; 0: it does
	waiting   atomic.Bool         // bytes have waited since then
	doubt     atomic.Uint64       // see doubted
	notice    *notice             // the link's: whoever waits for unsent bytes should look again

	drains    bool         // the port's programs can drain: they want to know at once, so pauses have their marks
	markTimer *time.Timer  // asks for the mark behind the last bytes; set before the session is anybody's
	armed     atomic.Bool  // it will
	unasked   atomic.Int32 // how often it has looked for a pause since somebody wanted to know

	otherBaud bool // the access server has said a baud rate that was not asked for; only down's

	clean uint64        // the visit to which the device's bytes belong, whatever was written before; only down's
	over  atomic.Uint64 // the first visit to which none of them belongs, for the session had ended before it; 0: it has not ended

	mu    sync.Mutex  // over stale
	stale uart.Coding // what the access server has changed by itself, until it is asked for again

	clocks // only Run's
}

// clocks are what Run watches a session by.
type clocks struct {
	stands   time.Time     // since when it stands
	unwanted time.Time     // since when nobody wants it; zero: somebody does
	opens    uint64        // of the port, at the last look whether somebody wants it
	lookAt   time.Time     // the next look at the peer
	looked   uint64        // bytes given to sessions by the last look
	ended    bool          // at the last look the peer had ended the connection and nobody had read that
	marks    watch         // the answer to the mark under way
	leaves   watch         // the last bytes, while the session is closing or left
	finSent  bool          // our FIN is sent, after all that was to be
	leftAt   time.Time     // when it was
	silent   time.Duration // for how long a peer that was given up had said nothing
	drained  bool          // the last bytes are out, as far as can be known
	unsure   bool          // they are, and the peer, which answers no marks, has not said that it has read them
	warned   bool          // of a suspension without end
	kept     bool          // it was said that HUPCL keeps it
}

// end is why a session is lost, and what TCP knew of it then: a closed socket knows nothing.
type end struct {
	cause   error
	unacked int // as Session.Unacked
}

func newSession(s uart.Session, notice *notice, drains bool) *session {
	n := &session{Session: s, notice: notice, drains: drains}
	n.markTimer = time.AfterFunc(markEvery, n.markDue) // ends by itself; stopped at the session's end
	n.markTimer.Stop()
	return n
}

// fail says that the session is lost. It comes before anybody closes the session because of that.
func (s *session) fail(err error) {
	if s.lost.CompareAndSwap(nil, &end{err, s.Unacked()}) {
		s.markTimer.Stop()
		s.look()
	}
}

func (s *session) failed() bool { return s.lost.Load() != nil }

// look lets whoever waits for unsent bytes look again.
func (s *session) look() { s.notice.tell() }

// gave counts bytes given to TCP from a time on, which were written after so many closes. The first ones after an answered
// mark start the clock of the next.
func (s *session) gave(n int, began time.Time, visit uint64) {
	first, many := s.unsent.gave(n, began, visit)
	if first {
		s.arm()
	}
	if many {
		s.mark()
	}
}

// arm has the next mark asked for when the writer pauses, and in markEvery at the latest.
func (s *session) arm() {
	if s.eager() {
		s.armFor(markPause)
	} else {
		s.armFor(markEvery)
	}
}

func (s *session) armFor(d time.Duration) {
	if s.armed.CompareAndSwap(false, true) {
		s.markTimer.Reset(d)
	}
}

// eager reports whether pauses are looked for: somebody may want to know what has left the far UART.
func (s *session) eager() bool { return s.drains && s.unasked.Load() < markUnasked }

// markDue asks for a mark, or looks again when it is due. It costs the bytes nothing: a look each pause at most, while they
// come.
func (s *session) markDue() {
	s.armed.Store(false) // first: what is given from now on arms it anew
	first, last, ok := s.unsent.since()
	if !ok || s.failed() {
		return
	}
	due := first.Add(markEvery)
	if s.eager() {
		due = minTime(due, last.Add(markPause))
		s.unasked.Add(1)
	}
	if wait := time.Until(due); wait > 0 {
		s.armFor(wait)
		return
	}
	s.mark()
}

// mark asks for a mark behind what was given, and reports whether one is under way: false where this peer answers none.
func (s *session) mark() bool {
	return s.unsent.sinceMark() > 0 && !s.failed() && s.Mark()
}

// marked takes the answer to a mark.
func (s *session) marked(n uint64) {
	if s.unsent.answered(n) {
		s.arm() // more was given meanwhile
	}
	s.look()
}

// left is what of the bytes given has not left the far UART, as far as can be known.
func (s *session) left() uart.Unsent {
	n := s.needs()
	if n.again > 0 {
		n.bytes = max(n.bytes, 1)
	}
	return uart.Unsent{Left: n.again, Bytes: n.bytes, Up: true}
}

// needs is what is known of bytes that may not be out.
type needs struct {
	left    time.Duration // the far UART needs by computation; 0: nothing
	bytes   int           // that it then has
	marking bool          // a mark that may say otherwise is waited for: its answer makes itself heard
	sure    bool          // the peer has said that it has taken all bytes, or is one that says nothing of the kind
	again   time.Duration // when to look again where nothing makes itself heard; 0: all are out
}

func (s *session) needs() needs {
	s.unasked.Store(0)
	asked := s.mark() // at once: its answer dates the last bytes
	left, bytes, again := s.unsent.left(s.Unacked())
	if s.failed() { // looked at last: a closed socket knows of no byte. Run is about to take the session, and says so
		return needs{left: lookAgain, bytes: bytes, again: lookAgain}
	}
	n := needs{left, bytes, asked && !s.doubted(), !asked, again}
	if n.marking { // those behind the last answer may not even have come
		n.again, n.bytes = max(left, lookAgain), max(bytes, int(s.unsent.sinceMark()))
	}
	return n
}

// doubts notes that the mark behind the first marked bytes has been unanswered for markPatience.
func (s *session) doubts(marked uint64) { s.doubt.Store(marked + 1) }

// doubted reports whether nobody waits for marks: none has been answered since doubts.
func (s *session) doubted() bool {
	_, marked, _ := s.unsent.progress()
	return s.doubt.Load() == marked+1
}

// suspend notes that the access server takes no data from now on, or does again.
func (s *session) suspend(on bool) {
	if !on {
		s.suspended.Store(0)
		s.waiting.Store(false)
	} else {
		s.suspended.CompareAndSwap(0, time.Now().UnixNano())
	}
}

// suspendedSince is when the access server began to take no data; zero: it takes data.
func (s *session) suspendedSince() (t time.Time) {
	if at := s.suspended.Load(); at != 0 {
		t = time.Unix(0, at)
	}
	return t
}

// changed notes what the access server says of settings that nobody here has asked for.
func (s *session) changed(c uart.Coding) {
	s.unsent.recodeSome(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = c.Over(s.stale)
}

// again returns the fields of next to be sent once more: those that e asks for and the access server has changed by
// itself. It forgets them.
func (s *session) again(e uart.Event, next uart.Coding) (c uart.Coding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale == (uart.Coding{}) {
		return c
	}
	if s.stale.Baud != 0 && e.Coding.Baud != 0 {
		c.Baud, s.stale.Baud = next.Baud, 0
	}
	if s.stale.DataBits != 0 && e.Coding.DataBits != 0 {
		c.DataBits, s.stale.DataBits = next.DataBits, 0
	}
	if s.stale.Parity != 0 && e.Coding.Parity != 0 {
		c.Parity, s.stale.Parity = next.Parity, 0
	}
	if s.stale.StopBits != 0 && e.Coding.StopBits != 0 {
		c.StopBits, s.stale.StopBits = next.StopBits, 0
	}
	return c
}

// watch tells whether something makes progress: any change of what is looked at is.
type watch struct {
	at    progress
	since time.Time // of the last change; zero: nothing is watched
}

// progress is how far the application's bytes have come.
type progress struct {
	given, marked, acked uint64
	unacked              int
}

// stuck returns since when there has been no progress. Bytes that may still be leaving are on their way.
func (w *watch) stuck(s *session, now time.Time) time.Time {
	given, marked, leaving := s.unsent.progress()
	// Inside a write that blocks TCP may be given as much as is acknowledged: both counts then stand still together.
	at := progress{given, marked, s.Alive().Acked, s.Unacked()}
	if w.since.IsZero() || at != w.at {
		w.at, w.since = at, now
	}
	if leaving.After(w.since) {
		return minTime(leaving, now)
	}
	return w.since
}

// settings are what is to be in force at the far UART. Break is not among them: it is a moment, not a state.
type settings struct {
	Coding  uart.Coding
	Flow    uart.Flow
	Control uart.Control
}

func (s settings) event() uart.Event {
	return uart.Event{Kind: uart.KindSettings, Coding: s.Coding, Flow: s.Flow, Control: s.Control}
}

// String writes what is said, as the log shows it.
func (s settings) String() string {
	return strings.TrimPrefix(s.event().String(), "settings ")
}

// merge returns s with what the event says.
func (s settings) merge(e uart.Event) settings {
	control := e.Control
	control.Break = 0
	return settings{e.Coding.Over(s.Coding), e.Flow.Over(s.Flow), control.Over(s.Control)}
}

// minus returns what differs from base, the rest not said. A change of flow control says both directions.
func (s settings) minus(base settings) settings {
	s.Coding = s.Coding.Minus(base.Coding)
	if s.Flow == base.Flow {
		s.Flow = uart.Flow{}
	}
	if s.Control.DTR == base.Control.DTR {
		s.Control.DTR = 0
	}
	if s.Control.RTS == base.Control.RTS {
		s.Control.RTS = 0
	}
	return s
}
