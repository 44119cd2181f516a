// Package tlsconn is a TLS connection that can be ended as a TCP connection can: half of it, at once, and without a
// reset that takes the last bytes from the peer. Both ends of ours use it. It knows no protocol above TLS, and checks no
// certificate: who makes a connection says how.
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

// goodbye is how long a closed connection waits for room for TLS's close_notify, where the peer's window is closed.
const goodbye = 50 * time.Millisecond

// Conn is a connection through TLS. As with any net.Conn, every method may be called by anyone. Whoever makes one calls
// HandshakeContext.
type Conn struct {
	*tls.Conn
	under  *under
	finish sync.Once // CloseWrite was called
}

// Client is the client's end of TLS over conn, which belongs to it from then on.
func Client(conn net.Conn, config *tls.Config) *Conn {
	u := &under{Conn: conn}
	return &Conn{Conn: tls.Client(u, config), under: u}
}

// Server is the server's end, likewise.
func Server(conn net.Conn, config *tls.Config) *Conn {
	u := &under{Conn: conn}
	return &Conn{Conn: tls.Server(u, config), under: u}
}

// NetConn is the connection below TLS, to look at.
func (c *Conn) NetConn() net.Conn { return c.under.Conn }

// Read is tlc.Conn's, and ends at once with Close.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.under.closing.Load() {
		err = net.ErrClosed // the deadline by which Close ends it is nobody's
	}
	return n, err
}

// CloseWrite has close_notify said, and FIN sent behind it. It never blocks: both wait, in a goroutine of their own, for
// whoever stands in Write, and close_notify for room. The goroutine ends when crypto/tls has waited 5 s for that, or with
// Close; FIN is sent in any case. Read goes on.
func (c *Conn) CloseWrite() error {
	c.finish.Do(func() {
		go func() {
			_ = c.Conn.CloseWrite()
			_ = tcp.CloseWrite(c.under.Conn)
		}()
	})
	return nil
}

// Close ends the connection, and every blocked call. It never blocks: where nobody stands in Write, close_notify is said
// first, by a goroutine that ends, and closes what is below, within goodbye.
func (c *Conn) Close() error {
	if c.under.closing.Swap(true) {
		return nil
	}
	_ = c.under.SetReadDeadline(tcp.Past())
	_ = c.under.SetWriteDeadline(time.Now().Add(goodbye)) // CloseWrite's close_notify may wait already
	go func() { _ = c.Conn.Close() }()                    // where somebody stands in Write, crypto/tls says nothing and ends him
	return nil
}

// under is the TCP connection below TLS. crypto/tls lets its Close wait 5 s for a peer whose window is closed. From the
// moment that closing is set no read waits any more, and no write for longer than goodbye: whatever deadline is set.
type under struct {
	net.Conn
	closing atomic.Bool
}

func (u *under) SetDeadline(t time.Time) error {
	return errors.Join(u.SetReadDeadline(t), u.SetWriteDeadline(t))
}

func (u *under) SetReadDeadline(t time.Time) error {
	err := u.Conn.SetReadDeadline(t)
	if u.closing.Load() { // looked at behind the call: Close, which sets it before its own, may come between
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
