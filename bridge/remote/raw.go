package remote

import (
	"net"
	"sync"

	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/uart"
)

// raw is a session that carries bytes and nothing else: tcp://.
type raw struct {
	*socket
	conn *tcp.Conn

	mu      sync.Mutex // guards the two flags; not held during conn.Write
	writing bool       // a goroutine is in conn.Write
	fin     bool       // FIN was sent, or will be when the write returns: Write fails from now on
}

var _ uart.Session = (*raw)(nil)

func newRaw(conn *tcp.Conn, s *socket) *raw { return &raw{socket: s, conn: conn} }

func (r *raw) Next() (p []byte, e uart.Event, err error) {
	p, err = r.conn.ReadLent()
	return p, e, err
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
	return r.conn.Write(p[:r.conn.Piece(len(p))])
}

// written ends a write. It sends FIN if CloseWrite was called meanwhile.
func (r *raw) written() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writing = false
	if r.fin {
		_ = r.conn.CloseWrite()
	}
}

// Apply does nothing: a raw port has no settings, which Fidelity reports.
func (r *raw) Apply(uart.Event) error { return nil }

// Mark sends nothing and returns false: timing marks need Telnet.
func (r *raw) Mark() bool { return false }

func (r *raw) Fidelity() uart.Fidelity { return 0 }

// CloseWrite sends FIN after the bytes that TCP has already taken; a blocked Write is cut short.
func (r *raw) CloseWrite() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fin {
		return nil
	}
	r.fin = true
	if r.writing { // the Write is cut short, returns and sends FIN
		return r.conn.SetWriteDeadline(tcp.Past())
	}
	return r.conn.CloseWrite()
}

// Close sends FIN before it closes, as tcp.Conn does.
func (r *raw) Close() error { return r.conn.Close() }
