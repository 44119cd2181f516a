package ordered

// keepMost is how much memory an empty FIFO keeps, in bytes: enough that usual traffic does not allocate, and little
// enough for a thousand idle ports that were once busy.
const keepMost = 8 << 10

// FIFO is a queue of bytes. The zero value is empty. It has no limit: its owner bounds it. When empty, it keeps 8 KiB of
// memory at most. It has no lock.
type FIFO struct {
	buf  []byte
	head int // index of the first byte
}

// Len is the number of bytes.
func (f *FIFO) Len() int { return len(f.buf) - f.head }

// Push appends a copy of p.
func (f *FIFO) Push(p []byte) {
	// Only if at least as much was taken as remains: otherwise each push into a full buffer would move all of it.
	if f.head >= f.Len() && len(f.buf)+len(p) > cap(f.buf) {
		f.buf = f.buf[:copy(f.buf, f.buf[f.head:])]
		f.head = 0
	}
	f.buf = append(f.buf, p...)
}

// Peek returns all bytes, without removing them. They are valid until the next call of Push.
func (f *FIFO) Peek() []byte { return f.buf[f.head:] }

// Skip removes n bytes, at most Len.
func (f *FIFO) Skip(n int) {
	f.head += n
	if f.head == len(f.buf) {
		f.Clear()
	}
}

// Take moves bytes into p, as many as there are and fit, and returns how many.
func (f *FIFO) Take(p []byte) int {
	n := copy(p, f.Peek())
	f.Skip(n)
	return n
}

// Clear removes all bytes.
func (f *FIFO) Clear() {
	f.buf, f.head = f.buf[:0], 0
	if cap(f.buf) > keepMost {
		f.buf = nil
	}
}
