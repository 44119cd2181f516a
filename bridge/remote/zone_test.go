package remote

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// linkLocal returns a link-local address of this machine with its zone, or skips.
func linkLocal(t *testing.T) (ip net.IP, zone string) {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() == nil && n.IP.IsLinkLocalUnicast() {
				return n.IP, i.Name
			}
		}
	}
	t.Skip("no interface of this machine has a link-local IPv6 address: a zone cannot be dialed (TestZoneOfCertificate still checks the name of the certificate)")
	return nil, ""
}

// forIP returns a certificate for an address, and the file that contains it.
func forIP(t *testing.T, ip net.IP) (config *tls.Config, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{ip},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(tempDir(t), "cert.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}

// An address with a zone is dialed, and its certificate, which has no zone, is accepted.
func TestDialZone(t *testing.T) {
	ip, zone := linkLocal(t)
	config, ca := forIP(t, ip)
	l, err := net.Listen("tcp", net.JoinHostPort(ip.String()+"%"+zone, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	shaken := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = tls.Server(conn, config).Handshake()
			defer conn.Close()
		}
		shaken <- err
	}()
	u, err := Parse("rfc2217+tls://[" + ip.String() + "%25" + zone + "]:" + port)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(u, Options{TLS: TLS{CAFile: ca}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), enough)
	defer cancel()
	conn, _, err := r.connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := <-shaken; err != nil {
		t.Error(err)
	}
}

// A certificate names the address without its zone.
func TestZoneOfCertificate(t *testing.T) {
	u, err := Parse("rfc2217+tls://[fe80::1%25eth0]")
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(u, Options{})
	if err != nil || r.tls.ServerName != "fe80::1" {
		t.Errorf("the certificate must have the name %q, %v; want fe80::1", r.tls.ServerName, err)
	}
}

// A link-local address without a zone, or with an unknown one, has its own error: it is not a machine that is off.
func TestZoneTrouble(t *testing.T) {
	for host, want := range map[string]string{
		"fe80::1":        "dial [fe80::1]:3696: fe80::1 exists on every link: say which one (its interface after a %, as in fe80::1%eth0)",
		"fe80::1%nosuch": `dial [fe80::1%nosuch]:3696: this machine has no interface "nosuch" (the zone of fe80::1%nosuch)`,
	} {
		r, err := New(URL{SchemeRFC2217, host, "3696"}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), enough)
		if _, err := r.Dial(ctx, 0); err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
		cancel()
	}
}

// tempDir is a temporary directory. Wine lacks unlinkat, which t.TempDir needs for its cleanup.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "telnetcpc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}
		for _, f := range files {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				t.Error(err)
			}
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
