package bridge

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/uart"
)

// session is one uart.Session with the bridge's bookkeeping about it: what was written, marked and sent, and Run's
// timers. Events that are read late are recorded for this session, not for the next one.
type session struct {
	uart.Session

	// Constant.
	notifier *notifier // the link's: goroutines that wait for unsent bytes check again
	drains   bool      // the port's programs can drain, and want the answer at once: so a mark follows each pause

	unsent unsent

	// Only the sender (see link); before there is one, only the dial's goroutine.
	sent settings // the settings that were sent

	// Written by the sender.
	writing      atomic.Uint64 // bytes inside a Write that has not returned; for the upper bound of a loss, and for down
	writingVisit atomic.Uint64 // the visit in which they were written

	// Any goroutine.
	failure      atomic.Pointer[failure] // why the session ended; the first cause wins, nil while it is up
	leaving      atomic.Bool             // our FIN is due, or sent: nothing is written any more
	closedUnread atomic.Bool             // it was closed, and the unread bytes of the device are counted
	endedBefore  atomic.Uint64           // the first visit after its end, so that none of its bytes is for it; 0: it has not ended

	suspendedAt   atomic.Int64  // since when the access server has suspended data, in Unix nanoseconds; 0: it has not
	bytesWait     atomic.Bool   // bytes have waited since then
	markGivenUpAt atomic.Uint64 // see marksGivenUp

	pauseTimer *time.Timer  // requests the mark after the last bytes; set before the session is shared
	timerSet   atomic.Bool  // pauseTimer is running
	unasked    atomic.Int32 // how often pauseTimer checked for a pause since pending was last called

	mu         sync.Mutex  // guards overridden: reading its fields and clearing them is one step
	overridden uart.Coding // the fields that the access server has changed unasked and the application has not requested since

	// Only down's goroutine.
	otherBaud  bool   // the access server has set a baud rate that was not requested
	cleanVisit uint64 // the last visit for which the device's bytes were found not to be stale

	sessionTimers // only Run's goroutine
}

// sessionTimers are what Run remembers of a session.
type sessionTimers struct {
	upSince        time.Time
	unwantedSince  time.Time     // zero: the session is wanted
	opensAtCheck   uint64        // how often the port had been opened when leaveTimer last checked whether it is wanted
	nextCheck      time.Time     // of the peer, by peerTimer
	writtenAtCheck uint64        // bytes written to sessions at the last check
	finSeen        bool          // at the last check of the peer, it had ended the connection
	mark           watch         // whether the mark in flight gets its answer
	closing        watch         // whether the last bytes make progress, in the phases closing and FIN sent
	finSent        bool          // our FIN is sent, after the last byte
	finSentAt      time.Time     // when it was sent
	silentFor      time.Duration // how long a peer that counts as dead had been silent
	drained        bool          // the last bytes have left the far UART, by all that is known
	unconfirmed    bool          // drained, but the peer answers no marks, so it has not confirmed that it has read them

	suspensionLogged bool
	keptLogged       bool // it was logged that HUPCL is off and keeps the session
}

// failure is why a session ended, and what TCP reported then: a closed socket reports nothing.
type failure struct {
	cause   error
	unacked int // as Session.Unacked
}

func newSession(s uart.Session, notifier *notifier, drains bool) *session {
	n := &session{Session: s, notifier: notifier, drains: drains}
	n.pauseTimer = time.AfterFunc(markEvery, n.markDue) // stopped at the session's end
	n.pauseTimer.Stop()
	return n
}

// fail records why the session ended. It must be called before the session is closed for that reason.
func (s *session) fail(err error) {
	if s.failure.CompareAndSwap(nil, &failure{err, s.Unacked()}) {
		s.pauseTimer.Stop()
		s.notify()
	}
}

func (s *session) failed() bool { return s.failure.Load() != nil }

// notify makes goroutines that wait for unsent bytes check again.
func (s *session) notify() { s.notifier.notify() }

// wrote counts n bytes of this visit that TCP has taken in a Write that began at that time. The first ones after an
// answered mark start the timer of the next mark.
func (s *session) wrote(n int, began time.Time, visit uint64) {
	first, many := s.unsent.wrote(n, began, visit)
	if first {
		s.setTimer()
	}
	if many {
		s.requestMark()
	}
}

// setTimer starts the timer of the next mark: it is due when the writer pauses, and after markEvery at the latest.
func (s *session) setTimer() {
	if s.wantsPauses() {
		s.setTimerFor(markPause)
	} else {
		s.setTimerFor(markEvery)
	}
}

func (s *session) setTimerFor(d time.Duration) {
	if s.timerSet.CompareAndSwap(false, true) {
		s.pauseTimer.Reset(d)
	}
}

// wantsPauses reports whether a mark follows each pause: a program may want to know what has left the far UART.
func (s *session) wantsPauses() bool { return s.drains && s.unasked.Load() < markUnasked }

// markDue requests a mark, or sets the timer for when it is due: it checks at most once per pause.
func (s *session) markDue() {
	s.timerSet.Store(false) // first: what is written from now on sets it again
	first, last, ok := s.unsent.since()
	if !ok || s.failed() {
		return
	}
	due := first.Add(markEvery)
	if s.wantsPauses() {
		due = minTime(due, last.Add(markPause))
		s.unasked.Add(1)
	}
	if wait := time.Until(due); wait > 0 {
		s.setTimerFor(wait)
		return
	}
	s.requestMark()
}

// requestMark requests a mark after what was written, and reports whether one is in flight. It returns false if
// everything has been answered, or if this peer answers no marks.
func (s *session) requestMark() bool {
	return s.unsent.sinceMark() > 0 && !s.failed() && s.Mark()
}

// markAnswered handles the answer to a mark: the peer has taken the first n bytes.
func (s *session) markAnswered(n uint64) {
	if s.unsent.answered(n) {
		s.setTimer() // more was written meanwhile
	}
	s.notify()
}

// left returns how much of what was written has not left the far UART, by all that is known.
func (s *session) left() uart.Unsent {
	p := s.pending()
	if p.recheck > 0 {
		p.bytes = max(p.bytes, 1)
	}
	return uart.Unsent{Left: p.recheck, Bytes: p.bytes, Up: true}
}

// pending is what is known about bytes that may not have left the far UART.
type pending struct {
	left         time.Duration // what the far UART still needs, by computation; 0: nothing
	bytes        int           // how many it then has
	awaitingMark bool          // a mark in flight may report more; its answer uses the notifier
	sure         bool          // the peer has confirmed that it has taken all bytes, or never confirms anything
	recheck      time.Duration // when to check again if the notifier reports nothing; 0: everything has left
}

func (s *session) pending() pending {
	s.unasked.Store(0)
	requested := s.requestMark() // at once: its answer bounds when the last bytes arrived
	left, bytes, recheck := s.unsent.left(s.Unacked())
	if s.failed() { // checked last: a closed socket reports 0 bytes. Run is about to detach the session, and to notify
		return pending{left: recheckMost, bytes: bytes, recheck: recheckMost}
	}
	p := pending{left, bytes, requested && !s.marksGivenUp(), !requested, recheck}
	if p.awaitingMark { // the bytes after the last answer may not even have arrived
		p.recheck, p.bytes = max(left, recheckMost), max(bytes, int(s.unsent.sinceMark()))
	}
	return p
}

// giveUpMarks records that no mark beyond the first marked bytes has been answered within markPatience.
func (s *session) giveUpMarks(marked uint64) { s.markGivenUpAt.Store(marked + 1) }

// marksGivenUp reports whether no mark has been answered since giveUpMarks, so that none is waited for.
func (s *session) marksGivenUp() bool {
	_, marked, _ := s.unsent.progress()
	return s.markGivenUpAt.Load() == marked+1
}

// suspend records that the access server has suspended or resumed data.
func (s *session) suspend(on bool) {
	if !on {
		s.suspendedAt.Store(0)
		s.bytesWait.Store(false)
	} else {
		s.suspendedAt.CompareAndSwap(0, time.Now().UnixNano())
	}
}

// suspendedSince is when the access server suspended data; zero: it has not.
func (s *session) suspendedSince() (t time.Time) {
	if at := s.suspendedAt.Load(); at != 0 {
		t = time.Unix(0, at)
	}
	return t
}

// codingChanged records a line coding that the access server has reported and this side has not requested.
func (s *session) codingChanged(c uart.Coding) {
	s.unsent.recodePart(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overridden = c.Over(s.overridden)
}

// resendChanged returns the fields of next that must be sent again: those that e requests and that the access server has
// changed unasked. It clears them in overridden.
func (s *session) resendChanged(e uart.Event, next uart.Coding) (c uart.Coding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.overridden
	if *o == (uart.Coding{}) {
		return c
	}
	if o.Baud != 0 && e.Coding.Baud != 0 {
		c.Baud, o.Baud = next.Baud, 0
	}
	if o.DataBits != 0 && e.Coding.DataBits != 0 {
		c.DataBits, o.DataBits = next.DataBits, 0
	}
	if o.Parity != 0 && e.Coding.Parity != 0 {
		c.Parity, o.Parity = next.Parity, 0
	}
	if o.StopBits != 0 && e.Coding.StopBits != 0 {
		c.StopBits, o.StopBits = next.StopBits, 0
	}
	return c
}

// watch detects whether the application's bytes make progress.
type watch struct {
	at    progress
	since time.Time // of the last change; zero: nothing is watched
}

// progress is how far the application's bytes have come. Any change of it is progress.
type progress struct {
	written, marked, acked uint64
	unacked                int
}

// stuckSince returns since when there has been no progress. Time in which bytes may still be leaving the far UART counts
// as progress.
func (w *watch) stuckSince(s *session, now time.Time) time.Time {
	written, marked, leaving := s.unsent.progress()
	// During a Write that blocks, TCP may take as many bytes as are acknowledged: unacked alone would not change then.
	at := progress{written, marked, s.Alive().Acked, s.Unacked()}
	if w.since.IsZero() || at != w.at {
		w.at, w.since = at, now
	}
	if leaving.After(w.since) {
		return minTime(leaving, now)
	}
	return w.since
}

// settings are those that the far UART should have. Break is not among them: it is an event, not a state.
type settings struct {
	Coding  uart.Coding
	Flow    uart.Flow
	Control uart.Control
}

func (s settings) event() uart.Event {
	return uart.Event{Kind: uart.KindSettings, Coding: s.Coding, Flow: s.Flow, Control: s.Control}
}

// String lists what is set, for the log.
func (s settings) String() string {
	return strings.TrimPrefix(s.event().String(), "settings ")
}

// merge returns s with what the event sets.
func (s settings) merge(e uart.Event) settings {
	control := e.Control
	control.Break = 0
	return settings{e.Coding.Over(s.Coding), e.Flow.Over(s.Flow), control.Over(s.Control)}
}

// minus returns what differs from base, with the rest unset. A change of flow control sets both directions.
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
