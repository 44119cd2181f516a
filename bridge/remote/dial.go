// Package remote turns a URL into a session with an access server: it dials, with TLS if the URL asks for it, negotiates
// and returns a uart.Session that is up. Its errors are one line each, with a hint about what to do.
//
// It knows nothing about ports, and it does not reconnect: the bridge, which calls Dial, decides when to dial again.
// Package agent makes a Remote for each port; package probe uses Connect.
package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/tcp"
	"telnetcpc/bridge/uart"
)

// ErrNotAccessServer means that the peer does not speak RFC 2217, or refuses it.
var ErrNotAccessServer = errors.New("not an RFC 2217 access server")

// dialTimeout bounds the TCP connect, and the TLS handshake separately.
const dialTimeout = 10 * time.Second

// Options are how a remote makes its sessions. The zero value of each field means its default.
type Options struct {
	AckTimeout time.Duration // how long to wait for the answer to a setting before it is reported as refused
	Quirks     Quirks        // KeepGreeting matters for rfc2217:// and rfc2217+tls:// only
	TLS        TLS
	Log        *slog.Logger // nil: TLS problems are not logged, the rest goes to slog.Default()
}

// Remote makes sessions with the peer that a URL names. It is safe for concurrent use. Between dials it keeps only the
// TLS configuration.
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
// that itself. The caller closes the connection. Errors are one line with a hint about what to do.
func (r *Remote) Connect(ctx context.Context) (net.Conn, error) {
	conn, _, err := r.connect(ctx)
	return conn, err
}

// Dial connects and negotiates in the caller's goroutine and returns a session that is up. ctx bounds Dial, not the
// session. Errors are one line with a hint about what to do; the error is ErrNotAccessServer if the peer is something
// else. mask has the line states (RFC 2217, SET-LINESTATE-MASK) that the port can report.
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

// comPort is a session over Telnet, with or without COM-PORT-OPTION: the protocol's client, and what TCP knows about the
// peer.
type comPort struct {
	*socket
	*rfc2217.Client
}

var _ uart.Session = comPort{}

// connect dials TCP, and makes a TLS connection if the URL asks for it.
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
