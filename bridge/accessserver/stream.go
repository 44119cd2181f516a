package accessserver

import "telnetcpc/bridge/uart"

// stream is bytes with marks between them, in one order. The zero value is empty. It has no lock and no limit of its
// own.
type stream[T any] struct {
	buf   []byte
	marks []mark[T]
}

// mark is a thing in front of the byte at this place of stream.buf.
type mark[T any] struct {
	place int
	what  T
}

func (s *stream[T]) empty() bool { return len(s.buf) == 0 && len(s.marks) == 0 }

// write appends a copy of p.
func (s *stream[T]) write(p []byte) { s.buf = append(s.buf, p...) }

// add appends a mark.
func (s *stream[T]) add(what T) { s.marks = append(s.marks, mark[T]{len(s.buf), what}) }

// last is the last mark that matches, or nil.
func (s *stream[T]) last(match func(m mark[T]) bool) *mark[T] {
	for i := len(s.marks) - 1; i >= 0; i-- {
		if match(s.marks[i]) {
			return &s.marks[i]
		}
	}
	return nil
}

// next takes what comes first off the stream: n bytes, copied to dst, or, with n = 0, one mark. The stream is not
// empty and dst has room for one byte at least.
func (s *stream[T]) next(dst []byte) (n int, what T) {
	end := len(s.buf)
	if len(s.marks) > 0 {
		if s.marks[0].place == 0 {
			what = s.marks[0].what
			s.marks = append(s.marks[:0], s.marks[1:]...)
			return 0, what
		}
		end = s.marks[0].place
	}
	n = copy(dst, s.buf[:end])
	s.buf = append(s.buf[:0], s.buf[n:]...)
	for i := range s.marks {
		s.marks[i].place -= n
	}
	return n, what
}

// nextReceived takes what comes first off what a UART has received: n bytes, copied to dst, or one event. With a break comes
// the NUL as which it was received.
func nextReceived(s *stream[uart.Event], dst []byte) (n int, e uart.Event) {
	n, e = s.next(dst)
	adjacent := len(s.marks) == 0 || s.marks[0].place > 0
	if e.Kind == uart.KindLine && e.Line == uart.LineBreak && adjacent && len(s.buf) > 0 && s.buf[0] == 0 {
		n, _ = s.next(dst[:1])
	}
	return n, e
}

// drop drops the bytes and keeps the marks.
func (s *stream[T]) drop() {
	s.buf = s.buf[:0]
	for i := range s.marks {
		s.marks[i].place = 0
	}
}
