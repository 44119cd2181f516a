package remote

import (
	"net"
	"sync"
	"time"

	"telnetcpc/bridge/uart"
)

const (
	// readSize is what one read of a connection asks for.
	readSize = 32 << 10
	// slowPiece is how much of the application's bytes one write gives to TCP at most, where it is not known that the peer
	// is fast: what is inside a write cannot be called back by a purge or a close.
	slowPiece = 4 << 10
)

// lender is a connection that reads into a buffer of its own and returns it, valid until its next read; the caller may
// write into it. An idle session over such a connection holds no buffer.
type lender interface {
	ReadLent() ([]byte, error)
}

// pacer is a connection that says how many of n bytes the next Write should be given. Only Write's caller may ask.
type pacer interface {
	Piece(n int) int
}

// raw is a session that carries bytes and nothing else: tcp://.
type raw struct {
	*socket
	conn   net.Conn
	lender lender // of conn, or nil
	pacer  pacer  // of conn, or nil
	buf    []byte // without a lender

	mu      sync.Mutex // over both below; held over no I/O
	writing bool       // a writer stands in the socket
	fin     bool       // FIN is sent, or is the writer's to send: nothing is written any more
}

var _ uart.Session = (*raw)(nil)

func newRaw(conn net.Conn, s *socket) *raw {
	r := &raw{socket: s, conn: conn}
	r.pacer, _ = conn.(pacer)
	if r.lender, _ = conn.(lender); r.lender == nil {
		r.buf = make([]byte, readSize)
	}
	return r
}

func (r *raw) Next() (p []byte, e uart.Event, err error) {
	if r.lender != nil {
		p, err = r.lender.ReadLent()
	} else {
		var n int
		n, err = r.conn.Read(r.buf)
		p = r.buf[:n]
	}
	if len(p) > 0 {
		return p, e, nil // an error that came with bytes comes again
	}
	return nil, e, err
}

func (r *raw) Write(p []byte) (int, error) {
	r.mu.Lock()
	if r.fin {
		r.mu.Unlock()
		return 0, net.ErrClosed
	}
	r.writing = true
	r.mu.Unlock()
	defer r.written()
	piece := min(len(p), slowPiece)
	if r.pacer != nil {
		piece = r.pacer.Piece(len(p))
	}
	return r.conn.Write(p[:piece])
}

// written sends the FIN that was asked for meanwhile.
func (r *raw) written() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writing = false
	if r.fin {
		_ = halfClose(r.conn)
	}
}

// Apply carries nothing: a raw server knows no settings, which Fidelity says.
func (r *raw) Apply(uart.Event) error { return nil }

// Mark is never answered: there is no Telnet.
func (r *raw) Mark() bool { return false }

func (r *raw) Fidelity() uart.Fidelity { return 0 }

// CloseWrite sends FIN behind what was given to TCP.
func (r *raw) CloseWrite() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fin {
		return nil
	}
	r.fin = true
	if r.writing { // cut short where it stands, it sends FIN
		return r.conn.SetWriteDeadline(time.Unix(1, 0))
	}
	return halfClose(r.conn)
}

// Close sends FIN before it closes: with bytes unread, close alone would be a reset.
func (r *raw) Close() error {
	_ = halfClose(r.conn)
	return r.conn.Close()
}

// halfClose sends FIN, where a connection has half an end. It never blocks.
func halfClose(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
