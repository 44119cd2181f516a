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

// agreePatience is how long a client may take for the TLS handshake and the negotiation after it.
const agreePatience = 10 * time.Second

// handshakeRecord is the first byte of a client that speaks TLS (RFC 8446, 5.1, ContentType). Telnet begins with IAC, 0xFF.
const handshakeRecord = 0x16

// errPlain reports that a client does not speak TLS.
type errPlain struct{ first []byte }

func (e *errPlain) Error() string { return "it does not speak TLS" }

// secured is a client's connection through TLS.
type secured struct {
	*tlsconn.Conn
	left  time.Duration // of agreePatience, after the handshake
	first []byte        // read by peek and not yet returned by Read; only the reader's
}

// peekTime is how long peek waits, because crypto/tls reads nothing after its deadline has passed.
const peekTime = time.Millisecond

// peek returns the first byte that the client has sent through TLS, if there is one. The socket below cannot show that: the
// handshake may have read the record, or what has arrived may be the alert that ends TLS. Only the reader may call it.
func (c *secured) peek() (first byte, any bool) {
	if len(c.first) == 0 {
		p := make([]byte, 64)
		_ = c.SetReadDeadline(time.Now().Add(peekTime))
		n, _ := c.Conn.Read(p) // any error but that of the deadline is returned again by the next read
		_ = c.SetReadDeadline(time.Time{})
		c.first = p[:n]
	}
	if len(c.first) == 0 {
		return 0, false
	}
	return c.first[0], true
}

// Read implements net.Conn.
func (c *secured) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}

// secure does the TLS handshake, if this server has TLS. It runs in the connection's own goroutine, so a client that
// stalls makes no other wait. It returns the connection to use and to close; nil if the handshake failed, and then
// v.accepted is closed.
func (s *Server) secure(ctx context.Context, v *visitor) net.Conn {
	conn := v.accepted
	if s.cfg.TLS == nil {
		return conn
	}
	client, until := new(secured), time.Now().Add(agreePatience)
	handshake, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	first, err := firstBytes(handshake, conn)
	if err == nil {
		v.setHeard()
		client.Conn = tlsconn.Server(&peeked{Conn: conn, first: first}, s.cfg.TLS.current(s.log))
		if err = client.HandshakeContext(handshake); err == nil {
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

// firstBytes reads the first bytes of a client, which must be TLS.
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

// peeked is a connection whose first bytes were read by firstBytes.
type peeked struct {
	net.Conn
	first []byte // not yet returned by Read; only the reader's
}

func (b *peeked) Read(p []byte) (int, error) {
	if len(b.first) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.first)
	b.first = b.first[n:]
	return n, nil
}

// NetConn returns the connection below, for its facts.
func (b *peeked) NetConn() net.Conn { return b.Conn }

// CloseWrite sends FIN.
func (b *peeked) CloseWrite() error { return tcp.CloseWrite(b.Conn) }

// notSecured logs why the TLS handshake failed. A client without TLS is sent the reason too; other clients have got an
// alert from crypto/tls, which dismiss gives them time to read.
func (s *Server) notSecured(ctx context.Context, conn net.Conn, err error) {
	log := s.refusalLog(conn)
	const own = "give it a certificate: --tls-cert FILE --tls-key FILE"
	var plain *errPlain
	var wrong *tls.CertificateVerificationError
	var alert *net.OpError
	switch {
	case errors.As(err, &plain):
		raw := rfc2217.NotTelnetError{First: plain.first}
		log(kindRaw, slog.LevelWarn, "client refused: it does not speak TLS", "sent", raw.Quoted(), "hint", "this port wants TLS: telnetcpc attach PORT "+s.url(conn))
		dismiss(ctx, conn, "this port wants TLS (rfc2217+tls://)")
		return
	case errors.Is(err, context.DeadlineExceeded):
		log(kindSilent, slog.LevelInfo, "client refused: it did not complete the TLS handshake in time", "hint", "this port wants TLS: telnetcpc attach PORT "+s.url(conn))
		return
	case errors.As(err, &wrong):
		log(kindTLS, slog.LevelWarn, "client refused: its certificate is not accepted", "certificate", subject(wrong.UnverifiedCertificates), "err", wrong.Err,
			"hint", "is it signed by a CA in --tls-client-ca FILE, and still valid?")
	case err.Error() == "tls: client didn't provide a certificate": // the error has no type of its own
		log(kindTLS, slog.LevelWarn, "client refused: it shows no certificate", "hint", own)
	case errors.As(err, &alert) && alert.Op == "remote error":
		log(kindTLS, slog.LevelWarn, "client left: it does not accept this server's TLS", "err", alert.Err,
			"hint", "its --tls-ca FILE must have the CA that signed the certificate, its --tls-name NAME a name in it")
	case errors.Is(err, io.EOF), isNetwork(err):
		log(kindLeft, slog.LevelInfo, "client left during the negotiation", "err", err)
		return
	default:
		log(kindTLS, slog.LevelWarn, "client refused: the TLS handshake failed", "err", err)
	}
	dismiss(ctx, conn, "")
}

// isNetwork reports whether the connection itself has failed.
func isNetwork(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "read" || op.Op == "write")
}

// subject returns the subject of a certificate, cut to fit a log line.
func subject(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	return fmt.Sprintf("%.100s", chain[0].Subject.String())
}

// accept negotiates with a client. Through TLS the client has what is left of agreePatience after the handshake; a wait
// for the device between the two does not count.
func (s *Server) accept(ctx context.Context, v *visitor) (*rfc2217.Server, error) {
	config := rfc2217.ServerConfig{Signature: s.cfg.Signature, Heard: v.setHeard, Log: s.log.With("client", v.conn.RemoteAddr().String())}
	if c, ok := v.conn.(*secured); ok {
		config.Until = time.Now().Add(c.left)
	}
	return rfc2217.Accept(ctx, v.conn, config)
}

// url returns the URL for clients that connect to where conn did.
func (s *Server) url(conn net.Conn) string {
	if s.cfg.TLS != nil {
		return "rfc2217+tls://" + conn.LocalAddr().String()
	}
	return "rfc2217://" + conn.LocalAddr().String()
}
