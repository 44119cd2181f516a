package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"telnetcpc/bridge/remote"
	"telnetcpc/bridge/uart"
)

// far is a scripted remote: it stands for an access server whose every answer, loss and pause a test decides, which no
// real one lets happen at a chosen byte. The real ones are in bridge/interop.
type far struct {
	mu       sync.Mutex
	change   *sync.Cond
	sessions []*farSession
	dials    int
	refuse   error
	dead     bool // new sessions take no byte
	noMarks  bool
	lacks    uart.Fidelity
}

func newFar() *far {
	f := &far{}
	f.change = sync.NewCond(&f.mu)
	return f
}

func (f *far) String() string          { return "far" }
func (f *far) Fidelity() uart.Fidelity { return uart.FullFidelity &^ f.lacks }

func (f *far) Dial(ctx context.Context, _ uart.LineState) (remote.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	f.change.Broadcast()
	if f.refuse != nil {
		return nil, f.refuse
	}
	s := &farSession{far: f, window: -1}
	if f.dead {
		s.window = 0
	}
	f.sessions = append(f.sessions, s)
	return s, nil
}

// session waits for the nth session, from 0.
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

func (f *far) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.change.Broadcast()
}

// farSession records what it is given as words: "settings 9600 8N1", "data hello", "purge tx", "mark", "FIN".
type farSession struct {
	far      *far
	words    []string
	data     []byte
	window   int // bytes that it still takes; negative: no bound
	in       []any
	err      error // ends Next and Write
	closed   bool
	marking  bool
	unacked  int
	peer     remote.Peer
	muteMark bool // marks are taken and not answered
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
		if s.closed {
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
		s.words = append(s.words, "data "+string(p[n:n+take]))
		n += take
		s.far.change.Broadcast()
	}
	return n, nil
}

func (s *farSession) Apply(e uart.Event) error {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if s.err != nil || s.closed {
		return io.ErrClosedPipe
	}
	s.words = append(s.words, e.String())
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
		if !s.muteMark {
			s.answerMark()
		}
	}
	return true
}

// answerMark answers the mark under way. The caller holds the lock.
func (s *farSession) answerMark() {
	s.marking = false
	s.in = append(s.in, uart.Event{Kind: uart.KindMarked, Bytes: uint64(len(s.data))})
	s.far.change.Broadcast()
}

func (s *farSession) Unacked() int {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if s.closed { // as a closed socket
		return -1
	}
	return s.unacked
}

func (s *farSession) Alive() remote.Peer {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	return s.peer
}

func (s *farSession) Fidelity() uart.Fidelity { return s.far.Fidelity() }

func (s *farSession) Close() error {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.words = append(s.words, "FIN")
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

// applied waits until the last thing that the session was told, marks left out, is word.
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

// said returns the words so far, adjacent data joined, marks left out.
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

// ended waits until the bridge has closed the session.
func (s *farSession) ended() {
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	for !s.closed {
		s.far.change.Wait()
	}
}

func (s *farSession) String() string { return fmt.Sprint(s.said()) }
