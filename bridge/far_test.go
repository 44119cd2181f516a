package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/uart"
)

// far is a scripted remote: an access server whose every answer, loss and pause the test decides, at any byte. Tests
// with real servers are in bridge/interop.
type far struct {
	mu         sync.Mutex
	change     *sync.Cond
	sessions   []*farSession
	dials      int
	refuse     error
	takes      time.Duration        // how long a dial takes
	aliveTakes time.Duration        // how long Alive takes
	applyTakes time.Duration        // how long a session's first Apply takes
	paced      bool                 // sessions have a line that takes its time
	delay      func() time.Duration // how long what is sent to a session is on its way; nil: no time
	dead       bool                 // new sessions take no byte
	noMarks    bool
	lacks      uart.Fidelity
}

func newFar() *far {
	f := &far{}
	f.change = sync.NewCond(&f.mu)
	return f
}

func (f *far) String() string          { return "far" }
func (f *far) Fidelity() uart.Fidelity { return uart.FullFidelity &^ f.lacks }

func (f *far) Dial(ctx context.Context, _ uart.LineState) (uart.Session, error) {
	f.set(func() { f.dials++ })
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change.Broadcast()
	if f.refuse != nil {
		return nil, f.refuse
	}
	s := &farSession{far: f, window: -1}
	if f.paced {
		s.line = &line{coding: uart.DefaultCoding()}
	}
	if f.dead {
		s.window = 0
	}
	f.sessions = append(f.sessions, s)
	return s, nil
}

// session waits for session number n, from 0.
func (f *far) session(n int) *farSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.sessions) <= n {
		f.change.Wait()
	}
	return f.sessions[n]
}

func (f *far) count() (sessions, dials int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sessions), f.dials
}

// all is the data of all sessions.
func (f *far) all() (data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sessions {
		data = append(data, s.data...)
	}
	return data
}

func (f *far) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.change.Broadcast()
}

// farSession records what it gets as words: "settings 9600 8N1", "data hello", "purge tx", "mark", "FIN".
type farSession struct {
	far      *far
	words    []string
	data     []byte
	window   int // bytes that it still takes; negative: no limit
	in       []any
	err      error // ends Next and Write
	closed   bool
	fin      bool // the bridge has closed its half
	stays    bool // and the server does not answer that with its own FIN
	marking  bool
	unacked  int
	peer     uart.Peer
	silent   time.Time // since when the peer acknowledges nothing; zero: it does
	muteMark bool      // marks are taken and not answered
	line     *line     // nil: bytes need no time
	last     time.Time // when the last thing sent to it arrives
	lost     int       // bytes that had not left the line when the bridge ended the session
}

var errReset = errors.New("connection reset")

func (s *farSession) Next() ([]byte, uart.Event, error) {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	for len(s.in) == 0 {
		if s.closed {
			return nil, uart.Event{}, io.ErrClosedPipe
		}
		if s.err != nil {
			return nil, uart.Event{}, s.err
		}
		s.far.change.Wait()
	}
	next := s.in[0]
	s.in = s.in[1:]
	switch v := next.(type) {
	case []byte:
		return v, uart.Event{}, nil
	case uart.Event:
		return nil, v, nil
	}
	panic("far: neither bytes nor event")
}

func (s *farSession) Write(p []byte) (n int, err error) {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	for n < len(p) {
		if s.closed || s.fin {
			return n, io.ErrClosedPipe
		}
		if s.err != nil {
			return n, s.err
		}
		take := len(p) - n
		if s.window >= 0 {
			take = min(take, s.window)
			s.window -= take
		}
		if take == 0 {
			s.far.change.Wait()
			continue
		}
		s.data = append(s.data, p[n:n+take]...)
		if s.line != nil {
			s.line.take(s.arrives(), take)
		}
		s.words = append(s.words, "data "+string(p[n:n+take]))
		n += take
		s.far.change.Broadcast()
	}
	return n, nil
}

func (s *farSession) Apply(e uart.Event) error {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if len(s.words) == 0 && s.far.applyTakes > 0 {
		s.far.mu.Unlock()
		time.Sleep(s.far.applyTakes)
		s.far.mu.Lock()
	}
	if s.err != nil || s.closed {
		return io.ErrClosedPipe
	}
	s.words = append(s.words, e.String())
	if s.line != nil {
		s.line.recode(s.arrives(), e.Coding)
	}
	s.far.change.Broadcast()
	return nil
}

func (s *farSession) Mark() bool {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if s.far.noMarks || s.closed || s.err != nil {
		return false
	}
	if !s.marking {
		s.marking = true
		s.words = append(s.words, "mark")
		place := uint64(len(s.data))
		switch {
		case s.muteMark:
		case s.line != nil:
			time.AfterFunc(time.Until(s.arrives()), func() { s.far.set(func() { s.answer(place) }) })
		default:
			s.answerMark()
		}
	}
	return true
}

// answerMark answers the mark in flight as if it came after all bytes. The caller holds the lock.
func (s *farSession) answerMark() { s.answer(uint64(len(s.data))) }

func (s *farSession) answer(place uint64) {
	s.marking = false
	s.in = append(s.in, uart.Event{Kind: uart.KindMarked, Bytes: place})
	s.far.change.Broadcast()
}

// arrives is when what is sent now reaches the server: in order, however long each piece is on its way.
func (s *farSession) arrives() time.Time {
	at := time.Now()
	if s.far.delay != nil {
		at = at.Add(s.far.delay())
	}
	if at.Before(s.last) {
		at = s.last
	}
	s.last = at
	return at
}

// line is the UART's transmitter of a server that reads as fast as it can, takes any number of bytes, and sends them at
// line time. A change of its coding is in force at once, as on a tty.
type line struct {
	coding uart.Coding
	sent   []span
	wrong  int // bytes that were waiting when the coding changed
}

// span is bytes that leave the line from begin on, evenly spaced.
type span struct {
	begin time.Time
	bytes int
	each  time.Duration
}

func (s span) end() time.Time { return s.begin.Add(time.Duration(s.bytes) * s.each) }

// empty is when the line has sent everything.
func (l *line) empty() time.Time {
	if len(l.sent) == 0 {
		return time.Time{}
	}
	return l.sent[len(l.sent)-1].end()
}

func (l *line) take(at time.Time, n int) {
	if end := l.empty(); at.Before(end) {
		at = end
	}
	l.sent = append(l.sent, span{at, n, l.coding.LineTime(1)})
}

func (l *line) recode(at time.Time, c uart.Coding) {
	if next := c.Over(l.coding); next != l.coding {
		l.wrong += l.waiting(at)
		l.coding = next
	}
}

// waiting is how many bytes have not left the line at a time.
func (l *line) waiting(at time.Time) (n int) {
	for _, s := range l.sent {
		switch {
		case !at.Before(s.end()):
		case at.Before(s.begin):
			n += s.bytes
		default:
			n += s.bytes - int(at.Sub(s.begin)/s.each)
		}
	}
	return n
}

func (s *farSession) Unacked() int {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if s.closed { // like a closed socket
		return -1
	}
	return s.unacked
}

func (s *farSession) Alive() uart.Peer {
	s.far.mu.Lock()
	aliveTakes := s.far.aliveTakes
	s.far.mu.Unlock()
	if aliveTakes > 0 {
		time.Sleep(aliveTakes)
	}
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	p := s.peer
	if !s.silent.IsZero() {
		p.Waiting = time.Since(s.silent)
	}
	p.Acked = uint64(max(0, len(s.data)-s.unacked))
	return p
}

func (s *farSession) Fidelity() uart.Fidelity { return s.far.Fidelity() }

func (s *farSession) CloseWrite() error {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if !s.fin && !s.closed {
		s.fin = true
		s.cut()
		s.words = append(s.words, "FIN")
		if s.err == nil && !s.stays {
			s.err = io.EOF
		}
		s.far.change.Broadcast()
	}
	return nil
}

// cut records what the line had not sent when the bridge ended the session: most servers drop that. The caller holds
// the lock.
func (s *farSession) cut() {
	if s.line != nil {
		s.lost = s.line.waiting(s.arrives())
	}
}

func (s *farSession) Close() error {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if !s.closed {
		s.closed = true
		if !s.fin {
			s.cut()
			s.words = append(s.words, "FIN")
		}
		s.far.change.Broadcast()
	}
	return nil
}

// send gives bytes or an event to the bridge.
func (s *farSession) send(v any) { s.far.set(func() { s.in = append(s.in, v) }) }

// lose ends the session from outside.
func (s *farSession) lose(err error) { s.far.set(func() { s.err = err }) }

// take waits until the session has got n bytes in all and returns them.
func (s *farSession) take(n int) string {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	for len(s.data) < n && !s.closed && s.err == nil {
		s.far.change.Wait()
	}
	return string(s.data)
}

// all returns everything that was applied or asked for so far, in order.
func (s *farSession) all() []string {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	return slices.Clone(s.words)
}

// applied waits until word is the last setting or purge that the session got.
func (s *farSession) applied(word string) {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	last := func() string {
		for i := len(s.words) - 1; i >= 0; i-- {
			if s.words[i] != "mark" {
				return s.words[i]
			}
		}
		return ""
	}
	for last() != word {
		s.far.change.Wait()
	}
}

// said returns the words until now, adjacent data joined, without marks.
func (s *farSession) said() []string {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	var words []string
	for _, w := range s.words {
		const data = "data "
		switch {
		case w == "mark":
		case len(words) > 0 && len(w) > 5 && w[:5] == data && len(words[len(words)-1]) > 5 && words[len(words)-1][:5] == data:
			words[len(words)-1] += w[5:]
		default:
			words = append(words, w)
		}
	}
	return words
}

// ended waits until the bridge has closed the session and has finished handling its end.
func (s *farSession) ended() {
	s.far.mu.Lock()
	for !s.closed {
		s.far.change.Wait()
	}
	s.far.mu.Unlock()
	synctest.Wait()
}

func (s *farSession) String() string { return fmt.Sprint(s.said()) }

// testLog is where the bridges of the tests log: nowhere, or standard error if TELNETCPC_TESTLOG is set.
func testLog() io.Writer {
	if os.Getenv("TELNETCPC_TESTLOG") != "" {
		return os.Stderr
	}
	return io.Discard
}

// waiting is how many bytes have not left the line.
func (s *farSession) waiting() (n int) {
	s.far.set(func() { n = s.line.waiting(time.Now()) })
	return n
}

// out is when the line has sent everything.
func (s *farSession) out() (at time.Time) {
	s.far.set(func() { at = s.line.empty() })
	return at
}
