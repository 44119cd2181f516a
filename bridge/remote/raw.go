package remote

import (
	"net"

	"telnetcpc/bridge/uart"
)

// readSize is what one read of a connection asks for.
const readSize = 32 << 10

// raw is a session that carries bytes and nothing else: tcp://.
type raw struct {
	*socket
	conn net.Conn
	buf  []byte
}

var _ Session = (*raw)(nil)

func newRaw(conn net.Conn, s *socket) *raw {
	return &raw{socket: s, conn: conn, buf: make([]byte, readSize)}
}

func (r *raw) Next() ([]byte, uart.Event, error) {
	n, err := r.conn.Read(r.buf)
	if n > 0 {
		return r.buf[:n], uart.Event{}, nil // an error that came with bytes comes again
	}
	return nil, uart.Event{}, err
}

func (r *raw) Write(p []byte) (int, error) { return r.conn.Write(p) }

// Apply carries nothing: a raw server knows no settings, which Fidelity says.
func (r *raw) Apply(uart.Event) error { return nil }

// Mark is never answered: there is no Telnet.
func (r *raw) Mark() bool { return false }

func (r *raw) Fidelity() uart.Fidelity { return 0 }

func (r *raw) Close() error { return r.conn.Close() }
