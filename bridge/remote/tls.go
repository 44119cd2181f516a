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
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure}
	if t.Name != "" {
		c.ServerName = t.Name
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls-ca %s: no certificate in it (want PEM)", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("tls-cert and tls-key belong together: give both")
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls-cert %s, tls-key %s: %w", t.CertFile, t.KeyFile, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// handshake makes a TLS connection of conn. Its errors say what a user can do.
func handshake(ctx context.Context, conn net.Conn, c *tls.Config) (net.Conn, error) {
	tc := tls.Client(conn, c)
	err := tc.HandshakeContext(ctx)
	if err == nil {
		return tc, nil
	}
	var header tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &header), errors.Is(err, io.EOF):
		return nil, fmt.Errorf("the peer does not speak TLS (use rfc2217:// where the server has none): %w", err)
	case errors.As(err, &unknown):
		return nil, fmt.Errorf("the server's certificate is signed by nobody known here (--tls-ca FILE names who signs it): %w", err)
	case errors.As(err, &name):
		return nil, fmt.Errorf("the server's certificate is for another name (--tls-name NAME): %w", err)
	}
	return nil, fmt.Errorf("TLS: %w", err)
}

// certificateWanted reports whether the peer's alert says that it wants a certificate of ours, or another one. With TLS
// 1.3 it comes after a handshake that has succeeded; crypto/tls has no type for the alerts of a peer.
func certificateWanted(err error) bool {
	text := err.Error()
	return strings.Contains(text, "tls: certificate required") || strings.Contains(text, "tls: bad certificate") ||
		strings.Contains(text, "tls: handshake failure")
}
