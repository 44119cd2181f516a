package ordered

import "slices"

// Stream is bytes with items of type T between them, in one order. Each item has a position: the number of bytes ever
// pushed before it, so taking or dropping bytes moves no item. The zero value is empty. It has no lock and no limit: the
// owner bounds it by Len and Items.
type Stream[T any] struct {
	bytes FIFO
	end   uint64 // the position after the last byte
	items []placed[T]
}

// placed is an item and its position: it comes before the byte with that number.
type placed[T any] struct {
	at   uint64
	item T
}

// Empty reports whether there is neither a byte nor an item.
func (s *Stream[T]) Empty() bool { return s.bytes.Len() == 0 && len(s.items) == 0 }

// Len is the number of bytes.
func (s *Stream[T]) Len() int { return s.bytes.Len() }

// Items is the number of items.
func (s *Stream[T]) Items() int { return len(s.items) }

// start returns the position of the first byte in the stream; if there is none, that of the next byte.
func (s *Stream[T]) start() uint64 { return s.end - uint64(s.bytes.Len()) }

// Push appends a copy of p.
func (s *Stream[T]) Push(p []byte) {
	s.bytes.Push(p)
	s.end += uint64(len(p))
}

// Add appends an item.
func (s *Stream[T]) Add(item T) { s.items = append(s.items, placed[T]{s.end, item}) }

// Item removes the item that comes before the next byte and returns it, if there is one.
func (s *Stream[T]) Item() (item T, ok bool) {
	if len(s.items) == 0 || s.items[0].at > s.start() {
		return item, false
	}
	return s.First()
}

// First removes the first item and returns it, if there is one, even if bytes come before it.
func (s *Stream[T]) First() (item T, ok bool) {
	if len(s.items) == 0 {
		return item, false
	}
	item = s.items[0].item
	s.items[0] = placed[T]{} // it may refer to much memory
	if s.items = s.items[1:]; len(s.items) == 0 {
		s.items = nil
	}
	return item, true
}

// Run returns the bytes before the next item; Skip removes them. It is valid until the next call of Push.
func (s *Stream[T]) Run() []byte {
	p := s.bytes.Peek()
	if len(s.items) > 0 {
		p = p[:s.items[0].at-s.start()]
	}
	return p
}

// Bytes returns all bytes, those after items too. It is valid until the next call of Push.
func (s *Stream[T]) Bytes() []byte { return s.bytes.Peek() }

// Skip removes n bytes, at most the length of Run.
func (s *Stream[T]) Skip(n int) { s.bytes.Skip(n) }

// Take moves bytes of Run into dst, as many as fit, and returns how many.
func (s *Stream[T]) Take(dst []byte) int {
	n := copy(dst, s.Run())
	s.Skip(n)
	return n
}

// Next removes what comes first: one item (n is 0), or bytes, which it moves into dst. The stream must not be empty, and
// dst not either.
func (s *Stream[T]) Next(dst []byte) (n int, item T) {
	if item, ok := s.Item(); ok {
		return 0, item
	}
	return s.Take(dst), item
}

// Drop removes all bytes. The items stay, in their order.
func (s *Stream[T]) Drop() {
	s.bytes.Clear()
	for i := range s.items {
		s.items[i].at = s.end
	}
}

// ItemsFirst moves all items before all bytes.
func (s *Stream[T]) ItemsFirst() {
	start := s.start()
	for i := range s.items {
		s.items[i].at = start
	}
}

// Last returns a pointer to the last item that match accepts, so that it can be changed in place, or nil. atEnd reports
// that no byte comes after the item. The pointer is valid until the next call that adds or removes an item.
func (s *Stream[T]) Last(match func(item T, atEnd bool) bool) *T {
	for i := len(s.items) - 1; i >= 0; i-- {
		if p := &s.items[i]; match(p.item, p.at == s.end) {
			return &p.item
		}
	}
	return nil
}

// Delete removes the items that match accepts.
func (s *Stream[T]) Delete(match func(item T) bool) {
	s.items = slices.DeleteFunc(s.items, func(p placed[T]) bool { return match(p.item) })
}
