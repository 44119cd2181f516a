package accessserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/tlsconn"
)

// agreePatience is how long a client may take for the handshake of TLS and all of the negotiation after it.
const agreePatience = 10 * time.Second

// handshakeRecord is the first byte of a client that speaks TLS (RFC 8446, 5.1, ContentType). No client begins so that
// does not: Telnet's IAC is 0xFF.
const handshakeRecord = 0x16

// errPlain says that a client does not speak TLS.
type errPlain struct{ first []byte }

func (e *errPlain) Error() string { return "it does not speak TLS" }

// secured is a client's connection through TLS.
type secured struct {
	*tlsconn.Conn
	left  time.Duration // what the handshake has left of agreePatience
	first []byte        // was read already; the reader's alone
}

// peekTime is how long a look waits for what may have come: crypto/tls reads nothing whose deadline has passed.
const peekTime = time.Millisecond

// begins reports whether the client has said something through TLS, and how it begins. Nothing below TLS tells that: the
// handshake may have read it already, and what has come may be the client's goodbye. It is the reader's to call.
func (c *secured) begins() (first byte, any bool) {
	if len(c.first) == 0 {
		p := make([]byte, 64)
		_ = c.SetReadDeadline(time.Now().Add(peekTime))
		n, _ := c.Conn.Read(p) // an error comes again, but that of the deadline
		_ = c.SetReadDeadline(time.Time{})
		c.first = p[:n]
	}
	if len(c.first) == 0 {
		return 0, false
	}
	return c.first[0], true
}

// Read is net.Conn's.
func (c *secured) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}

// secure shakes hands with a client where this server has TLS, in the goroutine of its connection: Accept waits for
// nobody, and who stalls owns nothing. nil: there is no such client; its connection is closed then. Else what is returned is to be
// closed in its place.
func (s *Server) secure(ctx context.Context, v *visitor) net.Conn {
	conn := v.accepted
	if s.cfg.TLS == nil {
		return conn
	}
	client, until := new(secured), time.Now().Add(agreePatience)
	shaking, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	first, err := firstBytes(shaking, conn)
	if err == nil {
		v.hears()
		client.Conn = tlsconn.Server(&begun{Conn: conn, first: first}, s.cfg.TLS.current(s.log))
		if err = client.HandshakeContext(shaking); err == nil {
			client.left = time.Until(until)
			return client
		}
	}
	defer conn.Close()
	if ctx.Err() == nil {
		s.notSecured(ctx, conn, err)
	}
	return nil
}

// firstBytes reads what a client begins with, which must be TLS.
func firstBytes(ctx context.Context, conn net.Conn) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(tcp.Past()) })
	first := make([]byte, 64)
	n, err := conn.Read(first)
	if !stop() {
		return nil, ctx.Err()
	}
	switch {
	case n > 0 && first[0] != handshakeRecord:
		return nil, &errPlain{first[:n]}
	case n > 0:
		return first[:n], nil
	}
	return nil, err
}

// begun is a connection whose first bytes were read already.
type begun struct {
	net.Conn
	first []byte // the reader's alone
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.first)
	b.first = b.first[n:]
	return n, nil
}

// NetConn is the connection itself, to look at.
func (b *begun) NetConn() net.Conn { return b.Conn }

// CloseWrite sends FIN.
func (b *begun) CloseWrite() error { return tcp.CloseWrite(b.Conn) }

// notSecured says why there is no TLS with a client, here in one line and, where it is needed, to the client; crypto/tls
// has told it by an alert else, and a close over unread bytes would take that from it.
func (s *Server) notSecured(ctx context.Context, conn net.Conn, err error) {
	say := s.sayOf(conn)
	const own = "give it a certificate: --tls-cert FILE --tls-key FILE"
	var plain *errPlain
	var wrong *tls.CertificateVerificationError
	var alert *net.OpError
	switch {
	case errors.As(err, &plain):
		raw := rfc2217.NotTelnetError{First: plain.first}
		say(kindRaw, slog.LevelWarn, "client refused: it does not speak TLS", "sent", raw.Seen(), "hint", "this port wants TLS: telnetcpc attach PORT "+s.url(conn))
		dismiss(ctx, conn, "this port wants TLS (rfc2217+tls://)")
		return
	case errors.Is(err, context.DeadlineExceeded):
		say(kindSilent, slog.LevelInfo, "client refused: it says nothing, or too little", "hint", "this port wants TLS: telnetcpc attach PORT "+s.url(conn))
		return
	case errors.As(err, &wrong):
		say(kindTLS, slog.LevelWarn, "client refused: its certificate is not accepted", "certificate", subject(wrong.UnverifiedCertificates), "err", wrong.Err,
			"hint", "is it signed by whom --tls-client-ca names, and in date?")
	case err.Error() == "tls: client didn't provide a certificate": // it has no type
		say(kindTLS, slog.LevelWarn, "client refused: it shows no certificate", "hint", own)
	case errors.As(err, &alert) && alert.Op == "remote error":
		say(kindTLS, slog.LevelWarn, "client left: it does not accept this server's TLS", "err", alert.Err,
			"hint", "its --tls-ca FILE names who signs the certificate, --tls-name NAME the name in it")
	case errors.Is(err, io.EOF), isNetwork(err):
		say(kindLeft, slog.LevelInfo, "client left before anything was agreed", "err", err)
		return
	default:
		say(kindTLS, slog.LevelWarn, "client refused: there is no TLS with it", "err", err)
	}
	dismiss(ctx, conn, "")
}

// isNetwork reports whether the connection itself has failed.
func isNetwork(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "read" || op.Op == "write")
}

// subject is who a certificate is for, as far as a line of the log has room for it.
func subject(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	return fmt.Sprintf("%.100s", chain[0].Subject.String())
}

// accept negotiates with a client, through TLS within what the handshake has left of the time. A wait for the device that
// lies between them does not count.
func (s *Server) accept(ctx context.Context, v *visitor) (*rfc2217.Server, error) {
	config := rfc2217.ServerConfig{Signature: s.cfg.Signature, Heard: v.hears, Log: s.log.With("client", v.conn.RemoteAddr().String())}
	if c, ok := v.conn.(*secured); ok {
		config.Until = time.Now().Add(c.left)
	}
	return rfc2217.Accept(ctx, v.conn, config)
}

// url is how a client comes to where conn has come.
func (s *Server) url(conn net.Conn) string {
	if s.cfg.TLS != nil {
		return "rfc2217+tls://" + conn.LocalAddr().String()
	}
	return "rfc2217://" + conn.LocalAddr().String()
}
