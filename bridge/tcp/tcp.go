// Package tcp is what TCP offers beyond net.Conn, for both ends of a session: a connection with cheap reads and writes
// (Conn, made by Dial), a listener whose sockets are set up before the first client connects (Listen), what the kernel
// knows of a peer and the options of a socket (Socket), and the end of a connection that loses nothing (CloseWrite,
// Close, Goodbye).
//
// It knows no protocol above TCP, not even TLS: it only unwraps connections that wrap another one (NetConn). What an
// operating system does not report is unknown, not an error. Its callers are remote and tlsconn, accessserver, and the
// commands that listen.
package tcp

import (
	"errors"
	"net"
	"time"
)

// Past returns a deadline that has passed. Set on a connection, it makes blocked calls return at once with
// os.ErrDeadlineExceeded, without closing anything.
func Past() time.Time { return time.Unix(1, 0) }

// keepAlive makes TCP detect within 15 s that a peer is gone without a FIN or RST, while nothing is in flight.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 5}
}

// CloseWrite sends FIN after everything that was written to conn. It never blocks on a TCP connection, nor on another one
// whose CloseWrite never does (tlsconn). The error is errors.ErrUnsupported if conn cannot be half-closed.
func CloseWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close sends FIN, then closes conn. A close while received bytes are unread is a reset (RFC 1122, 4.2.2.13), which may
// cost the peer what it has not read yet; a FIN before it ends the stream in order, if all of it has arrived. Goodbye
// makes sure that it does. The error is that of conn's Close.
func Close(conn net.Conn) error {
	_ = CloseWrite(conn)
	return conn.Close()
}

// Goodbye sends FIN by closeWrite, then drops what the peer still sends until it ends its half too, which shows that it has
// read everything. Then the caller can close the connection without a reset.
//
// next reads from the connection and returns how many bytes it got. Goodbye returns after its first error, so the caller
// sets a read deadline before the call, and after most bytes.
func Goodbye(closeWrite func() error, next func() (n int, err error), most int) {
	if closeWrite() != nil {
		return
	}
	for dropped := 0; dropped < most; {
		n, err := next()
		dropped += n
		if err != nil {
			return
		}
	}
}
