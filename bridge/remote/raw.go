package remote

import (
	"net"

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
}

var _ Session = (*raw)(nil)

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
	piece := min(len(p), slowPiece)
	if r.pacer != nil {
		piece = r.pacer.Piece(len(p))
	}
	return r.conn.Write(p[:piece])
}

// Apply carries nothing: a raw server knows no settings, which Fidelity says.
func (r *raw) Apply(uart.Event) error { return nil }

// Mark is never answered: there is no Telnet.
func (r *raw) Mark() bool { return false }

func (r *raw) Fidelity() uart.Fidelity { return 0 }

func (r *raw) Close() error { return r.conn.Close() }
