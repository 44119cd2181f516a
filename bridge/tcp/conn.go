package tcp

import (
	"context"
	"net"
	"time"
)

const (
	// readSize is how many bytes ReadLent reads at most.
	readSize = 32 << 10
	// slowPiece is how many bytes one Write should pass to TCP at most, unless the peer is known to be fast: bytes inside a
	// Write cannot be dropped any more by a purge or a close.
	slowPiece = 4 << 10
)

// Conn is a TCP connection for a session: it lends its read buffer (ReadLent), suggests how much to write at once (Piece)
// and knows its Socket.
//
// Read and ReadLent have one caller at a time, and so have Write and Piece. The other methods may be called from any
// goroutine, as those of *net.TCPConn.
type Conn struct {
	*net.TCPConn
	socket *Socket
	stream // per system: how it reads and writes
}

// Dial connects to address, HOST:PORT, within timeout. It sets the socket's options before the peer can send the first
// byte. The error is net.Dialer's.
func Dial(ctx context.Context, address string, timeout time.Duration) (*Conn, error) {
	d := net.Dialer{Timeout: timeout, KeepAliveConfig: keepAlive(), Control: setInline}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c, err := newConn(conn.(*net.TCPConn))
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	limitUnsent(c.TCPConn)
	return c, nil
}

// Socket returns the connection's Socket, always the same.
func (c *Conn) Socket() *Socket { return c.socket }

// Close sends FIN before it closes: see the function Close.
func (c *Conn) Close() error { return Close(c.TCPConn) }
