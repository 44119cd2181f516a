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

// TLS is how to verify the server of rfc2217+tls://, and how to authenticate to it.
type TLS struct {
	CAFile   string // PEM file of the certificates to trust; empty: the system's
	Name     string // the name that the certificate must have; empty: the URL's host
	CertFile string // PEM file of our own certificate; empty: none
	KeyFile  string // PEM file of its key
	Insecure bool   // accept every certificate; insecure: anyone on the path can read and change bytes
}

// config loads the files. The error names the file and what it should contain.
func (t TLS) config(host string) (*tls.Config, error) {
	// Dynamic record sizing, which helps browsers, splits the first writes into records of one segment. Here each write is
	// one record.
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

// reload loads the files again at each dial, because certificates are renewed while a port exists. If that fails, it
// returns the configuration that was loaded before, and logs each reason once.
func (r *Remote) reload() *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	config, err := r.opts.TLS.config(r.url.name())
	if err == nil {
		r.tls, r.loadError = config, ""
	} else if text := err.Error(); text != r.loadError {
		r.loadError = text
		if r.opts.Log != nil {
			r.opts.Log.Warn("cannot load the TLS files again; those loaded before stay in use", "err", err)
		}
	}
	return r.tls
}

// secured is a TLS connection. As with any net.Conn, its methods are safe for concurrent use.
type secured struct {
	*tlsconn.Conn
	asked bool // the server asked for a client certificate; constant after the handshake
	shown bool // we sent one
}

// handshake makes conn a TLS connection. Its errors say what to do; the caller closes conn then.
func handshake(ctx context.Context, conn net.Conn, c *tls.Config) (*secured, error) {
	s := &secured{shown: len(c.Certificates) > 0}
	c = c.Clone()
	// Called only if the server asks. Our certificate is sent even if the server names other authorities: its refusal can
	// be explained to the user.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		s.asked = true
		if s.shown {
			return &c.Certificates[0], nil
		}
		return new(tls.Certificate), nil
	}
	s.Conn = tlsconn.Client(conn, c)
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, s.explain(err)
	}
	return s, nil
}

// explain returns an error with why the handshake failed, and what to do.
func (s *secured) explain(err error) error {
	if refusal := s.certificateRefused(err); refusal != nil {
		return refusal
	}
	var header tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &header), ended(err):
		return &Error{"the peer does not speak TLS (use rfc2217:// if the server has none)", err}
	case errors.As(err, &unknown):
		return &Error{"the server's certificate is signed by an unknown authority (--tls-ca FILE names the certificates to trust)", err}
	case errors.As(err, &name):
		return &Error{fmt.Sprintf("the server's certificate is for another name (--tls-name NAME): %v", name), err}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		const day = "2006-01-02"
		return &Error{fmt.Sprintf("the server's certificate is valid from %s to %s only (renew it on the server; or is this machine's clock wrong?)",
			invalid.Cert.NotBefore.Format(day), invalid.Cert.NotAfter.Format(day)), err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{"the peer does not answer the TLS handshake (use rfc2217:// if the server has no TLS)", err}
	case strings.Contains(err.Error(), "protocol version"): // the peer's alert, or our own check; neither has a type
		return &Error{"the server's TLS is older than 1.2, which is not secure (update it; or use rfc2217:// on a network that you trust)", err}
	}
	return fmt.Errorf("TLS: %w", err)
}

// certificateRefused explains the end of a connection whose server had asked for a client certificate; nil if that is not
// why it ended. With TLS 1.3 a server refuses after the client's handshake has succeeded, and often sends no alert.
func (s *secured) certificateRefused(err error) error {
	alert := alertOf(err)
	if !s.asked || alert == "" && !ended(err) {
		return nil
	}
	if s.shown {
		return &Error{"the server does not accept our certificate" + alert + " (is it signed by an authority that the server trusts, and not expired?)", err}
	}
	return &Error{"the server requires a client certificate (--tls-cert FILE --tls-key FILE)", err}
}

// ended reports whether the peer has ended the connection, by FIN or by a reset.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, errReset) || errors.Is(err, errAborted)
}

// alertOf returns ": " and the text of the peer's alert; "" if err is none. crypto/tls has no type for it.
func alertOf(err error) string {
	if _, alert, ok := strings.Cut(err.Error(), "remote error: tls: "); ok {
		return ": " + alert
	}
	return ""
}
