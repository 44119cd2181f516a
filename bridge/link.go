package bridge

import (
	"strings"
	"sync"
	"sync/atomic"

	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/uart"
)

// session is the present session with what up, down and Run share of it.
type session struct {
	remote.Session
	suspended atomic.Bool         // the access server asked for no more data
	lost      atomic.Pointer[end] // the first word counts; nil: it stands
	marks     atomic.Bool         // marks are still believed in: none stayed unanswered for markPatience
}

// end is why a session is lost, and what TCP knew of it then: a closed socket knows nothing.
type end struct {
	cause   error
	unacked int // as Session.Unacked
}

// fail says that the session is lost. It comes before anybody closes the session because of that.
func (s *session) fail(err error) { s.lost.CompareAndSwap(nil, &end{err, s.Unacked()}) }

func (s *session) failed() bool { return s.lost.Load() != nil }

// mark asks for a mark, where this peer answers marks.
func (s *session) mark() bool { return s.marks.Load() && s.Mark() }

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

// link is the present session, or the wait for it, and the settings to be in force.
type link struct {
	pinned settings // constant

	// mu makes two things one step each: "merge a change and send what differs" (up), and "send everything and set the
	// session" (Run). So nothing is lost between them, nothing is sent twice, and no data byte precedes the state. It
	// is held over Session.Apply and no other I/O. Run takes it only while there is no session, Status and Urgent never.
	mu     sync.Mutex
	wanted settings // the application's; written by up alone
	sent   settings // what the present session was told

	cur        atomic.Pointer[session] // nil: no link. Set by Run alone
	discarding atomic.Bool             // without a link: up drops what it holds
	wake       chan struct{}           // one slot: what up waits for may have come
}

func (l *link) init(p Policy) {
	l.pinned = settings{Coding: p.Coding, Flow: p.Flow}
	l.wake = make(chan struct{}, 1)
}

// forget starts anew: a port that was just made has said nothing but its line coding.
func (l *link) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = settings{Coding: uart.DefaultCoding()}
	l.discarding.Store(false)
}

func (l *link) current() *session { return l.cur.Load() }

func (l *link) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// over returns the settings with the pinned ones over them.
func (l *link) over(s settings) settings {
	s.Coding = l.pinned.Coding.Over(s.Coding)
	s.Flow = l.pinned.Flow.Over(s.Flow)
	return s
}

// set tells the session the whole known state, and makes it the present one. begin runs between the two.
func (l *link) set(s *session, begin func(settings)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = l.over(l.wanted)
	if err := s.Apply(l.sent.event()); err != nil {
		return err
	}
	begin(l.sent)
	l.cur.Store(s)
	l.discarding.Store(false)
	l.wakeUp()
	return nil
}

// clear takes the present session out.
func (l *link) clear() { l.cur.Store(nil) }

// recodes reports whether the event changes the line coding that the present session was told. Only for up, which
// alone writes wanted.
func (l *link) recodes(e uart.Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cur.Load() != nil && l.over(l.wanted.merge(e)).Coding != l.sent.Coding
}

// change merges the application's event and sends what differs. It returns what is in force now, whether anything was
// sent, and a session that died of it.
func (l *link) change(e uart.Event) (now settings, sent bool, died *session, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = l.wanted.merge(e)
	now = l.over(l.wanted)
	s := l.cur.Load()
	if s == nil {
		return now, false, nil, nil
	}
	diff := now.minus(l.sent)
	diff.Control.Break = e.Control.Break
	l.sent = now
	if diff == (settings{}) {
		return now, false, nil, nil
	}
	if err := s.Apply(diff.event()); err != nil {
		return now, false, s, err
	}
	return now, true, nil, nil
}
