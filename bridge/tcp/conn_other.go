//go:build !linux

package tcp

import "net"

// stream reads and writes by net.Conn's own methods: what conn_linux.go saves may cost time on other systems too, but that
// has not been measured.
type stream struct {
	lent []byte // the buffer of which ReadLent returns a part; made by its first call
}

func newConn(conn *net.TCPConn) (*Conn, error) {
	return &Conn{TCPConn: conn, socket: newSocket(conn)}, nil
}

// ReadLent reads into a buffer of the connection and returns the part that was read. The caller may write into it until
// the next read.
func (c *Conn) ReadLent() ([]byte, error) {
	if c.lent == nil {
		c.lent = make([]byte, readSize)
	}
	n, err := c.Read(c.lent)
	if n > 0 {
		return c.lent[:n], nil // an error that came with bytes is returned by the next read
	}
	return nil, err
}

// Piece returns how many of n bytes the next Write should be given.
func (*Conn) Piece(n int) int { return min(n, slowPiece) }
