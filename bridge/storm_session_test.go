package bridge_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"telnetcpc/bridge/uart"
)

// The bridge's end of a stormSession: uart.Session.

var _ uart.Session = (*stormSession)(nil)

func (s *stormSession) Next() ([]byte, uart.Event, error) {
	yield()
	defer yield()
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	for !s.closed && (len(s.in) == 0 || s.in[0].at.After(time.Now())) {
		s.far.change.Wait()
	}
	if s.closed {
		return nil, uart.Event{}, io.ErrClosedPipe
	}
	r := s.in[0]
	if r.err != nil { // stays
		return nil, uart.Event{}, r.err
	}
	s.in = s.in[1:]
	switch r.event.Kind {
	case uart.KindSuspended:
		s.suspended = time.Now()
	case uart.KindResumed:
		s.suspended = time.Time{}
	case uart.KindMarked:
		s.know(time.Now())
		s.markSince = time.Time{}
	}
	s.far.down += uint64(len(r.data))
	return r.data, r.event, nil
}

// fault records what must never happen. The caller holds the lock.
func (f *stormFar) fault(format string, args ...any) {
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
	f.diary.note("WRONG: "+format, args...)
}

func (s *stormSession) Write(p []byte) (n int, err error) {
	began := time.Now() // what is inside the call cannot be taken back
	yield()
	defer yield()
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if !s.stated {
		s.far.fault("bytes before the state")
	}
	if !s.suspended.IsZero() && began.Sub(s.suspended) > moment {
		s.far.fault("bytes %v after the server suspended data", began.Sub(s.suspended))
	}
	for n < len(p) {
		switch {
		case s.closed || s.fin:
			return n, io.ErrClosedPipe
		case s.reset():
			return n, errReset
		}
		take := min(len(p)-n, s.habits.send-(s.sent-s.acked))
		if take <= 0 {
			s.far.change.Wait()
			continue
		}
		s.keep(p[n:n+take], began)
		n += take
	}
	return n, nil
}

// reset reports whether the peer's RST has arrived. The caller holds the lock.
func (s *stormSession) reset() bool {
	k := len(s.in) - 1
	return k >= 0 && errors.Is(s.in[k].err, errReset) && !s.in[k].at.After(time.Now())
}

// keep records data.
func (s *stormSession) keep(p []byte, began time.Time) {
	all := len(p)
	s.sent += all
	if s.waits.IsZero() {
		s.waits = time.Now()
	}
	for ; len(p) >= 4; p = p[4:] {
		n := binary.BigEndian.Uint32(p)
		if k := len(s.given) - 1; k >= 0 && s.given[k].last+1 == n && s.given[k].began.Equal(began) && s.given[k].coding == s.applied {
			s.given[k].last = n
			continue
		}
		s.given = append(s.given, givenRun{n, n, began, s.applied})
	}
	s.put(sent{bytes: all})
}

func (s *stormSession) Apply(e uart.Event) error {
	yield()
	defer yield()
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	began := time.Now()
	for s.habits.send == 0 && !s.closed && !s.reset() {
		s.far.change.Wait()
	}
	switch {
	case s.closed:
		if !s.stated && time.Since(began) >= 10*time.Second { // else the machine went to sleep
			s.far.failed = append(s.far.failed, time.Now())
		}
		return io.ErrClosedPipe
	case s.reset():
		if !s.stated {
			s.far.failed = append(s.far.failed, time.Now())
		}
		return errReset
	}
	s.stated = s.stated || e.Coding.Over(uart.Coding{}) == e.Coding && e.Coding.Baud != 0 && e.Coding.DataBits != 0
	s.applied = e.Coding.Over(s.applied)
	s.put(sent{coding: e.Coding, purge: e.Kind == uart.KindPurge && e.Purge&uart.PurgeTx != 0})
	return nil
}

func (s *stormSession) Mark() bool {
	yield()
	defer yield()
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if s.habits.noMarks || s.closed || s.fin || s.reset() {
		return false
	}
	if s.markSince.IsZero() {
		s.marking, s.markSince = true, time.Now()
		s.put(sent{mark: true, place: s.sent})
	}
	return true
}

func (s *stormSession) Unacked() int {
	yield()
	defer yield()
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if s.closed || s.habits.blind {
		return -1
	}
	return s.sent - s.acked
}

func (s *stormSession) Alive() uart.Peer {
	yield() // not after it: the unread bytes are counted, then the session is closed, and meanwhile down may read on
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if s.habits.blind || s.closed {
		return uart.Peer{}
	}
	p := uart.Peer{Unread: s.arrived(), Acked: uint64(s.acked)}
	p.Ended = s.ended && !s.inLast.After(time.Now())
	if !s.silent.IsZero() && s.sent > s.acked {
		p.Waiting = time.Since(laterOf(s.silent, s.waits))
	}
	return p
}

// arrived is how many bytes of the device wait for Next. The caller holds the lock.
func (s *stormSession) arrived() (n int) {
	for _, r := range s.in {
		if !r.at.After(time.Now()) {
			n += len(r.data)
		}
	}
	return n
}

func (s *stormSession) Fidelity() uart.Fidelity { return s.far.Fidelity() }

func (s *stormSession) CloseWrite() error {
	yield()
	defer yield()
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	s.end()
	return nil
}

// end ends the bridge's half. The caller holds the lock.
func (s *stormSession) end() {
	if s.fin {
		return
	}
	s.know(time.Now())
	s.fin, s.left = true, time.Now()
	s.lost = s.sent - s.line.gone(time.Now())
	s.far.diary.note("FIN: %d given, %d acknowledged, %d read, %d lost", s.sent, s.acked, s.read, s.lost)
	s.put(sent{fin: true})
}

func (s *stormSession) Close() error {
	defer yield()
	s.far.mu.Lock()
	defer s.far.mu.Unlock()
	if s.closed {
		return io.ErrClosedPipe
	}
	s.end()
	s.closed = true
	if n := s.arrived(); n > 0 {
		if !s.habits.blind {
			s.unread = n
		}
		s.die(nil) // a close over unread bytes is a reset
	}
	if s.habits.stays || s.stalled || !s.silent.IsZero() {
		s.die(nil)
	}
	s.far.stir()
	return nil
}

// yield lets others run now and then: between any two calls of the bridge anything may happen.
func yield() {
	if rand.IntN(8) == 0 {
		time.Sleep(time.Duration(rand.IntN(2_000_000)))
	}
}

// stormLine is a UART's transmitter: line, for many bytes.
type stormLine struct {
	coding uart.Coding
	spans  []span
	took   int // bytes that it ever got
	purged int
	wrong  int // bytes that were waiting when the coding changed
}

func (l *stormLine) each() time.Duration { return l.coding.LineTime(1) }

func (l *stormLine) take(at time.Time, n int) {
	l.took += n
	if k := len(l.spans) - 1; k >= 0 {
		at = laterOf(at, l.spans[k].end())
	}
	l.spans = append(l.spans, span{at, n, l.each()})
}

// waiting is how many bytes have not left; at must not decrease.
func (l *stormLine) waiting(at time.Time) (n int) {
	for len(l.spans) > 0 && !at.Before(l.spans[0].end()) {
		l.spans = l.spans[1:]
	}
	for i, s := range l.spans {
		if n += s.bytes; i == 0 && at.After(s.begin) {
			n -= int(at.Sub(s.begin) / s.each)
		}
	}
	return n
}

// gone is how many bytes have left, or were purged.
func (l *stormLine) gone(at time.Time) int { return l.took - l.waiting(at) }

func (l *stormLine) purge(at time.Time) {
	l.purged += l.waiting(at)
	l.spans = nil
}

func (l *stormLine) recode(at time.Time, c uart.Coding) {
	if next := c.Over(l.coding); next != l.coding {
		l.wrong += l.waiting(at)
		l.coding = next
	}
}
