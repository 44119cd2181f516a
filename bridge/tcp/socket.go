package tcp

import (
	"net"
	"syscall"
	"time"
)

// Facts are what the kernel knows of one connection at one moment.
type Facts struct {
	Known    bool          // false: this system does not report facts, or the connection is closed here; all other fields are then 0
	Ended    bool          // the peer has sent its FIN or RST, whether or not that has been read, or TCP has given up on the peer
	Closed   bool          // Ended, by RST, by TCP itself, or after our own FIN: closed in both directions
	Unread   int           // bytes received and not read; 0 if unknown
	Received uint64        // bytes received from the peer in all
	Acked    uint64        // bytes that the peer has acknowledged in all; 0 if unknown
	Waiting  time.Duration // how long data, or probes of a closed window, have been without any acknowledgement; 0: nothing is outstanding
	Silence  time.Duration // since the last data or acknowledgement from the peer
	Awaited  bool          // TCP waits for an acknowledgement, or for the answer to a probe
}

// Socket is the TCP socket of one connection: what the kernel knows of the peer, and the options that can change while
// the connection is in use. Methods may be called from any goroutine and never block. The connection still belongs to its
// owner.
//
// A nil *Socket is a connection without TCP below it: all its facts are unknown, and setting its options does
// nothing.
type Socket struct {
	conn *net.TCPConn
	memory
}

func newSocket(conn *net.TCPConn) *Socket {
	limitRetries(conn)
	return &Socket{conn: conn}
}

// SocketOf returns the socket of conn, below TLS too, or nil if there is none. It limits the time between TCP's tries to
// reach a peer that does not answer, if the kernel can do that; otherwise a dead peer is only detected later.
//
// Facts.Waiting and the growth of the receive buffer are counted per Socket: make one for a connection, and keep it.
func SocketOf(conn net.Conn) *Socket {
	for {
		switch c := conn.(type) {
		case *Conn:
			return c.socket
		case *net.TCPConn:
			return newSocket(c)
		case interface{ NetConn() net.Conn }: // TLS
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// Prepare sets the options that a client's connection needs: keepalive, which detects within 15 s that the client is gone,
// and urgent data in its place (Listen says why), in case this system's accepted connections do not inherit that from the
// listener. If keepalive cannot be set, the system's default of two hours remains.
func (s *Socket) Prepare() {
	if s == nil {
		return
	}
	s.KeepAlive()
	if raw, err := s.conn.SyscallConn(); err == nil {
		inline(raw)
	}
}

// KeepAlive sets the keepalive that every connection of this program uses.
func (s *Socket) KeepAlive() {
	if s != nil {
		_ = s.conn.SetKeepAliveConfig(keepAlive())
	}
}

// ProbeSoon makes keepalive probe the peer after 1 s of silence, and every second from then on, until KeepAlive is
// called.
func (s *Socket) ProbeSoon() {
	if s != nil {
		soon := keepAlive()
		soon.Idle, soon.Interval = time.Second, time.Second
		_ = s.conn.SetKeepAliveConfig(soon)
	}
}

// Peek returns the first byte received and not read, without reading it, and whether there is one. any is also false on
// systems that cannot report it, and if the connection is closed here.
func (s *Socket) Peek() (first byte, any bool) {
	if s == nil {
		return 0, false
	}
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return 0, false
	}
	return peek(raw)
}

// GrowReceiveBuffer makes the system accept about n unread bytes from the peer, if that is more than it does now. It
// never shrinks the buffer: the peer may send what it was promised.
func (s *Socket) GrowReceiveBuffer(n int) {
	if s != nil {
		growReceiveBuffer(s.conn, n)
	}
}

// setInline is for net.Dialer.Control.
func setInline(_, _ string, raw syscall.RawConn) error {
	inline(raw)
	return nil
}
