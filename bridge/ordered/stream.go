package ordered

import (
	"slices"

	"telnetcpc/bridge/uart"
)

// Stream is bytes with items between them, in one order. The zero value is empty. It has no lock and no limit of its own.
type Stream[T any] struct {
	buf   []byte
	items []placedItem[T]
}

// placedItem is an item before the byte at this place of Stream.buf.
type placedItem[T any] struct {
	at   int
	item T
}

// Empty reports whether there is neither byte nor item.
func (s *Stream[T]) Empty() bool { return len(s.buf) == 0 && len(s.items) == 0 }

// Len is the number of bytes.
func (s *Stream[T]) Len() int { return len(s.buf) }

// Items is the number of items.
func (s *Stream[T]) Items() int { return len(s.items) }

// Write appends a copy of p.
func (s *Stream[T]) Write(p []byte) { s.buf = append(s.buf, p...) }

// Add appends an item.
func (s *Stream[T]) Add(item T) { s.items = append(s.items, placedItem[T]{len(s.buf), item}) }

// Last returns the last item for which match is true, or nil. before is the number of bytes before the item.
func (s *Stream[T]) Last(match func(before int, item T) bool) *T {
	for i := len(s.items) - 1; i >= 0; i-- {
		if match(s.items[i].at, s.items[i].item) {
			return &s.items[i].item
		}
	}
	return nil
}

// Next takes what comes first: n bytes, copied to dst, or, with n = 0, one item. The stream must not be empty, and dst must
// have room for at least one byte.
func (s *Stream[T]) Next(dst []byte) (n int, item T) {
	end := len(s.buf)
	if len(s.items) > 0 {
		if s.items[0].at == 0 {
			item = s.items[0].item
			s.items = append(s.items[:0], s.items[1:]...)
			return 0, item
		}
		end = s.items[0].at
	}
	n = copy(dst, s.buf[:end])
	s.buf = append(s.buf[:0], s.buf[n:]...)
	for i := range s.items {
		s.items[i].at -= n
	}
	return n, item
}

// NextReceived takes what comes first of what a UART has received: n bytes, copied to dst, or one event. A break is returned
// together with the NUL byte as which it was received, as uart.Device demands.
func NextReceived(s *Stream[uart.Event], dst []byte) (n int, e uart.Event) {
	n, e = s.Next(dst)
	adjacent := len(s.items) == 0 || s.items[0].at > 0
	if e.Kind == uart.KindLine && e.Line == uart.LineBreak && adjacent && len(s.buf) > 0 && s.buf[0] == 0 {
		n, _ = s.Next(dst[:1])
	}
	return n, e
}

// Drop drops the bytes and keeps the items.
func (s *Stream[T]) Drop() {
	s.buf = s.buf[:0]
	for i := range s.items {
		s.items[i].at = 0
	}
}

// Delete removes the items for which del is true.
func (s *Stream[T]) Delete(del func(item T) bool) {
	s.items = slices.DeleteFunc(s.items, func(i placedItem[T]) bool { return del(i.item) })
}
