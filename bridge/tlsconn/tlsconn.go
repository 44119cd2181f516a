// Package tlsconn is a TLS connection that ends as a TCP connection does: one half of it, at once, and without a reset that
// costs the peer the last bytes. crypto/tls alone waits up to 5 s for a peer that does not read.
//
// Its callers are remote (the client's end) and accessserver (the server's). It knows no protocol above TLS and decides
// nothing about certificates: the caller's tls.Config does.
package tlsconn

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"telnetcpc/bridge/tcp"
)

// goodbye is how long the closing goroutine tries to send close_notify if the peer's window is closed.
const goodbye = 50 * time.Millisecond

// Conn is a connection through TLS. Its methods may be called from any goroutine, as those of any net.Conn. The caller of
// Client or Server calls HandshakeContext.
type Conn struct {
	*tls.Conn
	under  *under
	finish sync.Once // makes CloseWrite start one goroutine only
}

// Client returns the client's end of TLS over conn, which belongs to it from then on.
func Client(conn net.Conn, config *tls.Config) *Conn {
	u := &under{Conn: conn}
	return &Conn{Conn: tls.Client(u, config), under: u}
}

// Server returns the server's end, likewise.
func Server(conn net.Conn, config *tls.Config) *Conn {
	u := &under{Conn: conn}
	return &Conn{Conn: tls.Server(u, config), under: u}
}

// NetConn returns the connection below TLS, for its addresses and socket. Reading or writing it breaks TLS.
func (c *Conn) NetConn() net.Conn { return c.under.Conn }

// Read is tls.Conn's. Close ends it at once, with net.ErrClosed.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.under.closing.Load() {
		err = net.ErrClosed // not os.ErrDeadlineExceeded: Close has set that deadline, not the caller
	}
	return n, err
}

// CloseWrite sends close_notify, then FIN. It never blocks: a goroutine of its own waits for a Write under way, and for room
// for close_notify. It ends once both are sent, with Close, or when crypto/tls has waited 5 s for room; FIN is sent in any
// case. Read goes on.
func (c *Conn) CloseWrite() error {
	c.finish.Do(func() {
		go func() {
			_ = c.Conn.CloseWrite()
			_ = tcp.CloseWrite(c.under.Conn)
		}()
	})
	return nil
}

// Close ends the connection and every blocked call. It never blocks: a goroutine closes the connection below within goodbye.
// It sends close_notify first, unless a Write is under way.
func (c *Conn) Close() error {
	if c.under.closing.Swap(true) {
		return nil
	}
	_ = c.under.SetReadDeadline(tcp.Past())
	_ = c.under.SetWriteDeadline(time.Now().Add(goodbye)) // CloseWrite's close_notify may be waiting already
	go func() { _ = c.Conn.Close() }()                    // during a Write, crypto/tls sends no close_notify and ends the Write
	return nil
}

// under is the TCP connection below TLS. crypto/tls sets deadlines of its own: its Close waits 5 s for a peer whose window is
// closed. Once closing is set, no read waits any more, and no write waits longer than goodbye, whatever deadline is set.
type under struct {
	net.Conn
	closing atomic.Bool
}

func (u *under) SetDeadline(t time.Time) error {
	return errors.Join(u.SetReadDeadline(t), u.SetWriteDeadline(t))
}

func (u *under) SetReadDeadline(t time.Time) error {
	err := u.Conn.SetReadDeadline(t)
	if u.closing.Load() { // checked after the call: Close, which sets closing before its own deadline, may come in between
		err = u.Conn.SetReadDeadline(tcp.Past())
	}
	return err
}

func (u *under) SetWriteDeadline(t time.Time) error {
	err := u.Conn.SetWriteDeadline(t)
	if soon := time.Now().Add(goodbye); u.closing.Load() && (t.IsZero() || t.After(soon)) {
		err = u.Conn.SetWriteDeadline(soon)
	}
	return err
}

// Close sends FIN before it closes.
func (u *under) Close() error { return tcp.Close(u.Conn) }
