//go:build !plainio

package remote

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// stream is a TCP connection whose Read and Write cost a system call and no more. net.Conn's go through entersyscall,
// which wakes the runtime's sleeping monitor thread when the process was idle: measured, a round trip through them
// costs 1.4 times as long and twice the CPU time. RawConn hands out the descriptor inside the netpoller, so deadlines and
// Close work as ever, and the call is made without telling the scheduler. That is right only because the descriptor is
// non-blocking: a call that waits would hold the processor.
//
// One caller of Read and ReadLent, and one of Write and Piece, at a time; the rest as *net.TCPConn. Built with the tag
// plainio, net.Conn's own are used, as on other systems.
type stream struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer
	lent    *[readSize]byte // what ReadLent has returned a part of, or nil

	// The steps of Read, ReadLent and Write, made once: a closure for each call would be an allocation.
	readStep, lentStep, writeStep func(fd uintptr) (done bool)
}

// transfer is one Read or Write under way.
type transfer struct {
	p      []byte
	n      int
	errno  syscall.Errno
	waited bool // for bytes, or for room
}

// bulkPiece is slowPiece for a peer that is fast: more brings nothing.
const bulkPiece = 12 << 10

// lendable are the buffers that ReadLent lends. A stream has one only while it has bytes: most are idle most of the time.
var lendable = sync.Pool{New: func() any { return new([readSize]byte) }}

func newStream(conn *net.TCPConn) (net.Conn, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &stream{TCPConn: conn, raw: raw}
	s.readStep, s.lentStep, s.writeStep = s.in.read, s.readLent, s.out.write
	return s, nil
}

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.in = transfer{p: p}
	return s.endRead(s.raw.Read(s.readStep))
}

// ReadLent implements lender: while it waits the stream has no buffer.
func (s *stream) ReadLent() ([]byte, error) {
	s.in = transfer{}
	n, err := s.endRead(s.raw.Read(s.lentStep))
	if err != nil {
		s.giveBack()
		return nil, err
	}
	return s.lent[:n], nil
}

// readLent is a step of ReadLent.
func (s *stream) readLent(fd uintptr) (done bool) {
	if s.lent == nil {
		s.lent = lendable.Get().(*[readSize]byte)
	}
	s.in.p = s.lent[:]
	if s.in.read(fd) {
		return true
	}
	s.giveBack()
	return false
}

func (s *stream) giveBack() {
	if s.lent != nil {
		lendable.Put(s.lent)
		s.lent, s.in.p = nil, nil
	}
}

// endRead returns what Read returns, given what RawConn said.
func (s *stream) endRead(err error) (int, error) {
	s.in.p = nil
	switch {
	case err != nil:
		return 0, err
	case s.in.errno != 0:
		return 0, s.failed("read", s.in.errno)
	case s.in.n == 0:
		return 0, io.EOF
	}
	return s.in.n, nil
}

// Write implements net.Conn.
func (s *stream) Write(p []byte) (int, error) {
	s.out = transfer{p: p}
	err := s.raw.Write(s.writeStep)
	s.out.p = nil
	if err == nil && s.out.errno != 0 {
		err = s.failed("write", s.out.errno)
	}
	return s.out.n, err
}

// Piece implements pacer: the peer is slow where the Write before had to wait for room.
func (s *stream) Piece(n int) int {
	if s.out.waited {
		return min(n, slowPiece)
	}
	return min(n, bulkPiece)
}

// failed is the error that net.Conn would return.
func (s *stream) failed(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}

// Close sends FIN before it closes: with bytes unread, close alone would be a reset.
func (s *stream) Close() error {
	_ = s.CloseWrite()
	return s.TCPConn.Close()
}

// read is a step: false is "not yet", and the netpoller waits.
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

// write is a step: it goes on where the one before has stopped.
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
