package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"telnetcpc/bridge/makers"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/uart"
)

// dialTimeout bounds a TCP connect, and again the TLS handshake.
const dialTimeout = 10 * time.Second

// LastWords is how long to wait for an answer to the end of our half of a connection.
const LastWords = 2 * time.Second

// Options are how a remote makes its sessions. The zero value of each field means its default.
type Options struct {
	AckTimeout time.Duration // how long to wait for the answer to a setting before it is reported as refused
	Quirks     Quirks        // KeepGreeting matters for rfc2217:// and rfc2217+tls:// only
	TLS        TLS
	Log        *slog.Logger // nil: TLS trouble is not logged, the rest goes to slog.Default()
}

// Remote makes sessions with the peer that a URL names. It is safe for concurrent use. Between dials it keeps nothing but
// the TLS configuration.
type Remote struct {
	url  URL
	opts Options

	mu        sync.Mutex  // serialises loading of the TLS files
	tls       *tls.Config // as last loaded; rfc2217+tls:// only
	loadError string      // why the last load failed; empty: it did not
}

// New returns a remote. It loads the TLS files and does not dial.
func New(u URL, o Options) (*Remote, error) {
	r := &Remote{url: u, opts: o}
	if u.Scheme != SchemeRFC2217TLS {
		if o.TLS != (TLS{}) {
			return nil, fmt.Errorf("remote %s: the tls settings need rfc2217+tls://", u)
		}
		return r, nil
	}
	var err error
	if r.tls, err = o.TLS.config(u.name()); err != nil {
		return nil, err
	}
	return r, nil
}

// String returns the remote's URL.
func (r *Remote) String() string { return r.url.String() }

// Fidelity is what sessions of this remote carry at best. A raw port or plain Telnet carries only bytes.
func (r *Remote) Fidelity() uart.Fidelity {
	if r.url.Scheme == SchemeTCP || r.url.Scheme == SchemeTelnet {
		return 0
	}
	return rfc2217.Fidelity
}

// URL returns what New was given.
func (r *Remote) URL() URL { return r.url }

// Connect dials as Dial does, with TLS if the URL asks for it, and neither negotiates nor sends data: package probe does
// that itself. The caller closes the connection. Errors are one line that says what to do.
func (r *Remote) Connect(ctx context.Context) (net.Conn, error) {
	conn, _, err := r.connect(ctx)
	return conn, err
}

// Dial connects and negotiates in the caller's goroutine and returns a session that is up. ctx bounds Dial, not the
// session. Errors are one line that says what to do; the error is ErrNotAccessServer if the peer is something else. mask
// is the line states (RFC 2217, SET-LINESTATE-MASK) that the port can report.
func (r *Remote) Dial(ctx context.Context, mask uart.LineState) (uart.Session, error) {
	conn, sock, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	var c *rfc2217.Client
	switch r.url.Scheme {
	case SchemeTCP:
		return newRaw(conn.(*tcp.Conn), sock), nil
	case SchemeTelnet:
		c, err = rfc2217.OpenTelnet(ctx, conn, r.config(mask))
	default:
		c, err = rfc2217.Open(ctx, conn, r.config(mask))
	}
	if err != nil {
		err = r.notOpened(conn, err)
		conn.Close()
		return nil, err
	}
	return comPort{socket: sock, Client: c}, nil
}

func (r *Remote) config(mask uart.LineState) rfc2217.Config {
	return rfc2217.Config{
		AckTimeout: r.opts.AckTimeout, LineMask: mask, Quirks: r.opts.Quirks, Log: r.opts.Log,
	}
}

// comPort is a session over Telnet: the protocol's client, with COM-PORT-OPTION or without, and what the socket knows.
type comPort struct {
	*socket
	*rfc2217.Client
}

var _ uart.Session = comPort{}

// connect dials TCP, and TLS where the URL asks for it.
func (r *Remote) connect(ctx context.Context) (net.Conn, *socket, error) {
	conn, err := tcp.Dial(ctx, r.url.Address(), dialTimeout)
	if err != nil {
		return nil, nil, r.notDialed(err)
	}
	sock := &socket{conn.Socket()}
	if r.url.Scheme != SchemeRFC2217TLS {
		return conn, sock, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	secure, err := handshake(ctx, conn, r.reload())
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("%s: %w", r.url.Address(), err)
	}
	return secure, sock, nil
}

// notDialed explains why there is no connection, and what to check.
func (r *Remote) notDialed(err error) error {
	at := r.url.Address()
	var timeout net.Error
	var op *net.OpError
	trouble := cmp.Or(NameTrouble(err, r.url.Host), zoneTrouble(r.url.Host))
	switch {
	case trouble != "":
		return &Error{fmt.Sprintf("dial %s: %s", at, trouble), err}
	case errors.Is(err, errRefused):
		return &Error{fmt.Sprintf("dial %s: connection refused (is the access server running, and on this port?)", at), err}
	case errors.Is(err, errHostUnreachable), errors.Is(err, errNetUnreachable):
		return &Error{fmt.Sprintf("dial %s: no route to the host (is the network up, and is the address right?)", at), err}
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Error{fmt.Sprintf("dial %s: no answer within %v (is the device on? does a firewall block the port?)", at, dialTimeout), err}
	case errors.As(err, &op):
		return &Error{fmt.Sprintf("dial %s: %v", at, op.Err), err}
	}
	return fmt.Errorf("dial %s: %w", at, err)
}

// Error is one line for people that says what to do, and the error that caused it.
type Error struct {
	Text string
	Err  error
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Err }

// notOpened explains why there is no session with a peer that was reached, and what to do.
func (r *Remote) notOpened(conn net.Conn, err error) error {
	at := r.url.Address()
	no := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", at, ErrNotAccessServer, fmt.Sprintf(format, args...))
	}
	var other *rfc2217.NotTelnetError
	var early *rfc2217.EarlyEndError
	var missing *rfc2217.NoDeviceError
	var occupied *rfc2217.InUseError
	if errors.Is(err, rfc2217.ErrSilent) {
		if text := elicit(conn); len(text) > 0 {
			err = &rfc2217.NotTelnetError{First: text}
		}
	}
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("%s: the access server cannot open its device: it says %s (is it plugged in there?)", at, missing.Seen())
	case errors.As(err, &early) && len(early.Said) > 0:
		return fmt.Errorf("%s: negotiation: %w", at, early)
	case errors.As(err, &other) && makers.Service(other.First) == makers.TLS:
		return no("it expects TLS (%s)", r.url.with(SchemeRFC2217TLS))
	case errors.As(err, &other):
		return no("it says %s (%s)", other.Seen(), r.guess(other.First))
	case errors.Is(err, rfc2217.ErrEcho):
		return no("it echoes what it receives (a loopback plug on a raw port? %s carries bytes without settings)", r.url.with(SchemeTCP))
	case errors.Is(err, rfc2217.ErrSilent):
		if r.url.Scheme != SchemeRFC2217TLS {
			return no("it is silent (%s; or it expects TLS: %s)", r.url.RawHint(), r.url.with(SchemeRFC2217TLS))
		}
		return no("it is silent (%s)", r.url.RawHint())
	case errors.Is(err, rfc2217.ErrRefused):
		return no("it speaks Telnet but refuses COM-PORT-OPTION (enable RFC 2217 on the server; %s carries bytes without settings)", r.url.with(SchemeTelnet))
	case errors.As(err, &occupied):
		return fmt.Errorf("%s: the access server's port seems to be in use by another client: it says %s", at, occupied.Seen())
	case errors.Is(err, rfc2217.ErrInUse):
		return fmt.Errorf("%s: the access server's port is in use by another client (disconnect that client first; a server that keeps dead sessions, as a Digi may, has a setting or an idle timeout for that)", at)
	}
	if s, ok := conn.(*secured); ok {
		if refusal := s.certificateRefused(err); refusal != nil {
			return fmt.Errorf("%s: %w", at, refusal)
		}
	}
	var op *net.OpError
	if errors.As(err, &op) { // without our own port, so that the same error has the same text
		text := strings.Replace(err.Error(), op.Error(), op.Err.Error(), 1)
		return &Error{fmt.Sprintf("%s: negotiation: %s", at, text), err}
	}
	return fmt.Errorf("%s: negotiation: %w", at, err)
}

// elicit closes our half of a connection that has been silent, and returns what the peer answers: a web server complains
// that it got no request. It sends nothing, because the peer may be a machine tool.
func elicit(conn net.Conn) []byte {
	if tcp.CloseWrite(conn) != nil || conn.SetReadDeadline(time.Now().Add(LastWords)) != nil {
		return nil
	}
	text := make([]byte, 64)
	n, _ := conn.Read(text) // EOF or a timeout: no answer
	return text[:n]
}

// guess names a listener that does not speak Telnet, by the first bytes that it sent, and says what to do.
func (r *Remote) guess(first []byte) string {
	if service := makers.Service(first); service != "" {
		return service + ": is the port right?"
	}
	return r.url.RawHint()
}
