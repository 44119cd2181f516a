package ordered

// keepMost is how much memory an empty FIFO keeps, so that the usual traffic allocates nothing; and a thousand idle ports
// do not keep what each of them needed once.
const keepMost = 8 << 10

// FIFO is bytes in a row. The zero value is empty. It grows to what is pushed, and is kept small by its owner; empty, it
// holds at most 8 KiB. It has no lock.
type FIFO struct {
	buf  []byte
	head int // of what is not taken
}

// Len is the number of bytes.
func (f *FIFO) Len() int { return len(f.buf) - f.head }

// Push appends bytes, which it copies.
func (f *FIFO) Push(p []byte) {
	// Only where at least as much is taken as is left: else each push into a full buffer would move all of it.
	if f.head >= f.Len() && len(f.buf)+len(p) > cap(f.buf) {
		f.buf = f.buf[:copy(f.buf, f.buf[f.head:])]
		f.head = 0
	}
	f.buf = append(f.buf, p...)
}

// Peek is what Take would take. It is valid until the next call that changes the FIFO.
func (f *FIFO) Peek() []byte { return f.buf[f.head:] }

// Skip takes n bytes out, which are there.
func (f *FIFO) Skip(n int) {
	f.head += n
	if f.head == len(f.buf) {
		f.Clear()
	}
}

// Take moves bytes into p and returns how many.
func (f *FIFO) Take(p []byte) int {
	n := copy(p, f.Peek())
	f.Skip(n)
	return n
}

// Clear throws the bytes away.
func (f *FIFO) Clear() {
	f.buf, f.head = f.buf[:0], 0
	if cap(f.buf) > keepMost {
		f.buf = nil
	}
}
