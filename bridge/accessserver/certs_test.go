package accessserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"telnetcpc/bridge/accessserver"
)

// issued is a certificate with its key, as files and in memory.
type issued struct {
	cert, key string
	leaf      *x509.Certificate
	secret    *ecdsa.PrivateKey
}

// issue makes a certificate for this name, valid between two times relative to now, signed by by; nil: self-signed.
func issue(t *testing.T, by *issued, name string, from, to time.Duration) *issued {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"far.example"},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer, signing := template, secret
	if by != nil {
		signer, signing = by.leaf, by.secret
	} else {
		template.IsCA, template.BasicConstraintsValid = true, true
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &secret.PublicKey, signing)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := tempDir(t)
	i := &issued{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), leaf, secret}
	writeFile(t, i.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, i.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: hidden}))
	return i
}

func writeFile(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// pair returns the certificate and its key, for a client.
func (i *issued) pair() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{i.leaf.Raw}, PrivateKey: i.secret}
}

// trusts returns a client's configuration that trusts the certificate.
func (i *issued) trusts() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(i.leaf)
	return &tls.Config{RootCAs: pool, ServerName: "far.example"}
}

func loadTLS(t *testing.T, files accessserver.TLSFiles) *accessserver.TLS {
	t.Helper()
	loaded, err := accessserver.LoadTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// tempDir returns a directory that is removed after the test. t.TempDir removes its own with unlinkat, which Wine does not have.
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
