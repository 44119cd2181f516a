package tcp

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// stream makes Read and Write cost a system call and no more. net.Conn's go through entersyscall, which wakes the runtime's
// sleeping monitor thread if the process was idle: measured, a round trip through them takes 1.4 times as long and twice the
// CPU time. RawConn provides the descriptor inside the netpoller, so deadlines and Close work as usual, and the call is made
// without informing the scheduler. That is correct only because the descriptor is non-blocking: a call that waited would hold
// the processor.
//
// On other systems net.Conn's own methods do it: conn_other.go.
type stream struct {
	raw syscall.RawConn

	// Of the caller of Read and ReadLent.
	in                 transfer
	lent               *[readSize]byte // the buffer of which ReadLent has returned a part, or nil
	readStep, lentStep step

	// Of the caller of Write and Piece.
	out       transfer
	writeStep step
}

// step is one try of a Read, ReadLent or Write. It returns false if the call would block; then the netpoller waits. The
// steps are made once per connection: a closure per call would allocate.
type step = func(fd uintptr) (done bool)

// transfer is one Read or Write under way.
type transfer struct {
	p      []byte
	n      int
	errno  syscall.Errno
	waited bool // it had to wait, for bytes or for buffer space
}

// bulkPiece is used in place of slowPiece, in bytes, for a fast peer: larger pieces are no faster.
const bulkPiece = 12 << 10

// lendable holds the buffers that ReadLent lends. A connection has one only while it has bytes: most are idle most of the time.
var lendable = sync.Pool{New: func() any { return new([readSize]byte) }}

func newConn(conn *net.TCPConn) (*Conn, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{TCPConn: conn, socket: newSocket(conn), stream: stream{raw: raw}}
	c.readStep, c.lentStep, c.writeStep = c.in.read, c.tryReadLent, c.out.write
	return c, nil
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.in = transfer{p: p}
	return c.endRead(c.raw.Read(c.readStep))
}

// ReadLent reads into a buffer of the connection and returns the part that was read. The caller may write into it until the
// next read. While it waits, the connection has no buffer.
func (c *Conn) ReadLent() ([]byte, error) {
	c.in = transfer{}
	n, err := c.endRead(c.raw.Read(c.lentStep))
	if err != nil {
		c.giveBack()
		return nil, err
	}
	return c.lent[:n], nil
}

// tryReadLent is ReadLent's step.
func (c *Conn) tryReadLent(fd uintptr) (done bool) {
	if c.lent == nil {
		c.lent = lendable.Get().(*[readSize]byte)
	}
	c.in.p = c.lent[:]
	if c.in.read(fd) {
		return true
	}
	c.giveBack()
	return false
}

func (c *Conn) giveBack() {
	if c.lent != nil {
		lendable.Put(c.lent)
		c.lent, c.in.p = nil, nil
	}
}

// endRead returns the results of Read, given RawConn's error.
func (c *Conn) endRead(err error) (int, error) {
	c.in.p = nil
	switch {
	case err != nil:
		return 0, err
	case c.in.errno != 0:
		return 0, c.failed("read", c.in.errno)
	case c.in.n == 0:
		return 0, io.EOF
	}
	return c.in.n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.out = transfer{p: p}
	err := c.raw.Write(c.writeStep)
	c.out.p = nil
	if err == nil && c.out.errno != 0 {
		err = c.failed("write", c.out.errno)
	}
	return c.out.n, err
}

// Piece returns how many of n bytes the next Write should be given: few if the previous Write had to wait for buffer
// space, because then the peer is slow.
func (c *Conn) Piece(n int) int {
	if c.out.waited {
		return min(n, slowPiece)
	}
	return min(n, bulkPiece)
}

// failed returns the error that net.Conn would return.
func (c *Conn) failed(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}

// read is a step: one read.
func (t *transfer) read(fd uintptr) (done bool) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&t.p[0])), uintptr(len(t.p)))
		switch errno {
		case 0:
			t.n = int(n)
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			t.waited = true
			return false
		default:
			t.errno = errno
			return true
		}
	}
}

// write is a step: it continues where the previous one stopped.
func (t *transfer) write(fd uintptr) (done bool) {
	for t.n < len(t.p) {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&t.p[t.n])), uintptr(len(t.p)-t.n))
		switch errno {
		case 0:
			t.n += int(n)
		case syscall.EINTR:
		case syscall.EAGAIN:
			t.waited = true
			return false
		default:
			t.errno = errno
			return true
		}
	}
	return true
}
