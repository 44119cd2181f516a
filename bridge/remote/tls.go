package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"telnetcpc/bridge/tlsconn"
)

// TLS says how the server of rfc2217+tls:// is verified, and how we show who we are.
type TLS struct {
	CAFile   string // PEM file of the certificates to trust; empty: the system's
	Name     string // the name that the certificate must carry; empty: the URL's host
	CertFile string // our own certificate, PEM; empty: none
	KeyFile  string // its key, PEM
	Insecure bool   // accept every certificate: anybody on the way can read and change the bytes
}

// config reads the files. The error names the file and what it should hold.
func (t TLS) config(host string) (*tls.Config, error) {
	// DynamicRecordSizing cuts the first writes into records of a segment each, for browsers: here a write is a record.
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure, DynamicRecordSizingDisabled: true}
	if t.Name != "" {
		c.ServerName = t.Name
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls-ca: %w (want a PEM file of the certificates to trust)", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls-ca %s: no certificate in it (want PEM)", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("tls-cert and tls-key belong together: give both (one file that holds both may be named twice)")
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls-cert %s, tls-key %s: %w (want PEM files of a certificate and its key)", t.CertFile, t.KeyFile, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// current reads the files again, for a dial: certificates are renewed while a port lives. Where they cannot be used, what
// was read before stays, and the log says so, once for each reason.
func (r *Remote) current() *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	config, err := r.opts.TLS.config(r.url.name())
	if err == nil {
		r.tls, r.unusable = config, ""
	} else if text := err.Error(); text != r.unusable {
		r.unusable = text
		if r.opts.Log != nil {
			r.opts.Log.Warn("the files of TLS cannot be used any more: what was read before stays", "err", err)
		}
	}
	return r.tls
}

// secured is a connection through TLS. As with any net.Conn, every method may be called by anyone.
type secured struct {
	*tlsconn.Conn
	asked bool // the server asked for a certificate of ours; constant once the handshake has ended
	shown bool // we have one
}

// handshake makes a TLS connection of conn. Its errors say what a user can do; conn is then the caller's to close.
func handshake(ctx context.Context, conn net.Conn, c *tls.Config) (*secured, error) {
	s := &secured{shown: len(c.Certificates) > 0}
	c = c.Clone()
	// It is called only when the server asks. What we have is sent also where the server names other signers: its
	// refusal can be explained, its silence could not.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		s.asked = true
		if s.shown {
			return &c.Certificates[0], nil
		}
		return new(tls.Certificate), nil
	}
	s.Conn = tlsconn.Client(conn, c)
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, s.notShaken(err)
	}
	return s, nil
}

// notShaken says why there is no TLS connection.
func (s *secured) notShaken(err error) error {
	if said := s.unwelcome(err); said != nil {
		return said
	}
	var header tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &header), ended(err):
		return &Error{"the peer does not speak TLS (use rfc2217:// where the server has none)", err}
	case errors.As(err, &unknown):
		return &Error{"the server's certificate is signed by nobody known here (--tls-ca FILE names who signs it)", err}
	case errors.As(err, &name):
		return &Error{fmt.Sprintf("the server's certificate is for another name (--tls-name NAME): %v", name), err}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		const day = "2006-01-02"
		return &Error{fmt.Sprintf("the server's certificate is valid from %s to %s only (renew it there; or is the clock wrong here?)",
			invalid.Cert.NotBefore.Format(day), invalid.Cert.NotAfter.Format(day)), err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{"the peer says nothing to a TLS greeting (use rfc2217:// where the server has no TLS)", err}
	case strings.Contains(err.Error(), "protocol version"): // the peer's alert, or our own refusal; neither has a type
		return &Error{"the server's TLS is older than 1.2, which protects nothing (update it; or rfc2217:// on a network that you trust)", err}
	}
	return fmt.Errorf("TLS: %w", err)
}

// unwelcome says, where the server hung up after it had asked for a certificate of ours, that this is why; else nil.
// With TLS 1.3 that comes after a handshake that has succeeded, and often as an end without a word.
func (s *secured) unwelcome(err error) error {
	alert := alertOf(err)
	if !s.asked || alert == "" && !ended(err) {
		return nil
	}
	if s.shown {
		return &Error{"the server does not accept our certificate" + alert + " (is it signed by whom the server trusts, and in date?)", err}
	}
	return &Error{"the server wants a client certificate and hangs up without one (--tls-cert FILE --tls-key FILE)", err}
}

// ended reports whether the peer ended the connection, in order or not.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, errReset) || errors.Is(err, errAborted)
}

// alertOf is what a peer's alert says, behind a colon; empty: it is none. crypto/tls has no type for it.
func alertOf(err error) string {
	if _, alert, ok := strings.Cut(err.Error(), "remote error: tls: "); ok {
		return ": " + alert
	}
	return ""
}
