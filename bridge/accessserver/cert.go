package accessserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// TLSFiles name what a server shows its clients, and whom it lets in. All are PEM.
type TLSFiles struct {
	Cert     string // the server's certificate, followed by those that lead to its signer
	Key      string // its key; may be the same file
	ClientCA string // who signs the clients' certificates; empty: none is asked for
}

// TLS is a server's end of TLS. It reads its files again when they have changed: certificates are renewed while a server
// runs. It may be used by anyone.
type TLS struct {
	files TLSFiles

	mu      sync.Mutex  // over everything below; held over reading the files
	config  *tls.Config // in force; it is not changed, but replaced
	read    string      // what the files looked like when they were read last, whatever came of it
	expired bool        // the certificate's end was said
}

// LoadTLS reads and checks the files. The error is one line with the way out, and begins with the file's name in a
// configuration: tls-cert, tls-key, tls-client-ca.
func LoadTLS(files TLSFiles) (*TLS, error) {
	switch {
	case files.Cert == "" && files.Key == "" && files.ClientCA != "":
		return nil, fmt.Errorf("tls-client-ca %s: a client shows a certificate only through TLS (give --tls-cert and --tls-key too)", files.ClientCA)
	case files.Cert == "":
		return nil, fmt.Errorf("tls-key %s: the certificate is missing (give --tls-cert too; one file that holds both may be named twice)", files.Key)
	case files.Key == "":
		return nil, fmt.Errorf("tls-cert %s: the key is missing (give --tls-key too; one file that holds both may be named twice)", files.Cert)
	}
	t := &TLS{files: files, read: files.look()}
	var err error
	t.config, err = files.load(time.Now())
	return t, err
}

// load reads the files. A certificate that is not valid now is an error.
func (f TLSFiles) load(now time.Time) (*tls.Config, error) {
	cert, err := readPEM("tls-cert", f.Cert, "the server's certificate")
	if err != nil {
		return nil, err
	}
	key, err := readPEM("tls-key", f.Key, "its key")
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err != nil && strings.Contains(string(key), "ENCRYPTED"):
		return nil, fmt.Errorf("tls-key %s: the key has a passphrase, which nobody can type here (openssl pkey -in FILE -out NEW takes it off)", f.Key)
	case err != nil:
		text := strings.TrimPrefix(err.Error(), "tls: ")
		return nil, fmt.Errorf("tls-cert %s, tls-key %s: %s (want PEM files of a certificate and its key)", f.Cert, f.Key, text)
	}
	const day = "2006-01-02 15:04 MST"
	switch leaf := pair.Leaf; {
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("tls-cert %s: the certificate has expired on %s (renew it; or is the clock wrong here?)", f.Cert, leaf.NotAfter.Format(day))
	case now.Before(leaf.NotBefore):
		return nil, fmt.Errorf("tls-cert %s: the certificate is not valid before %s (is the clock wrong here?)", f.Cert, leaf.NotBefore.Format(day))
	}
	// DynamicRecordSizing cuts the first writes into records of a segment each, for browsers: here a write is a record. A
	// ticket saves a second session some time that nobody here misses, and lets in who has lost his certificate since.
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		DynamicRecordSizingDisabled: true, SessionTicketsDisabled: true,
	}
	if f.ClientCA == "" {
		return c, nil
	}
	signers, err := readPEM("tls-client-ca", f.ClientCA, "who signs the clients' certificates")
	if err != nil {
		return nil, err
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(signers) {
		return nil, fmt.Errorf("tls-client-ca %s: no certificate in it (want a PEM file of who signs the clients' certificates)", f.ClientCA)
	}
	return c, nil
}

// readPEM reads a file of this name in a configuration, which should hold this.
func readPEM(name, file, what string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w (want a PEM file of %s)", name, file, causeOf(err), what)
	}
	return text, nil
}

// causeOf is an error of a file without the file's name.
func causeOf(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// look is what the files look like from outside: other when one of them has changed.
func (f TLSFiles) look() string {
	var all strings.Builder
	for _, name := range []string{f.Cert, f.Key, f.ClientCA} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			fmt.Fprintln(&all, causeOf(err))
			continue
		}
		fmt.Fprintln(&all, info.Size(), info.ModTime().UnixNano())
	}
	return all.String()
}

// current is what is in force for a client that comes now. Files that have changed are read again; where that fails, the
// log has it once, and the certificate before stays.
func (t *TLS) current(log *slog.Logger) *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if seen := t.files.look(); seen != t.read { // looked at before they are read: a change in between is seen the next time
		t.read = seen
		config, err := t.files.load(now)
		if err != nil {
			log.Warn("the files of TLS have changed and cannot be used: what was read before stays", "err", err)
		} else {
			t.config, t.expired = config, false
			log.Info("the files of TLS have changed and were read again", "certificate", t.files.Cert, "valid_to", validTo(config))
		}
	}
	if end := validTo(t.config); now.After(end) && !t.expired {
		t.expired = true
		log.Warn("the certificate has expired: clients will not accept it", "certificate", t.files.Cert, "valid_to", end,
			"hint", "renew it; the new one is read when the next client comes")
	}
	return t.config
}

// validTo is when the certificate expires.
func validTo(c *tls.Config) time.Time { return c.Certificates[0].Leaf.NotAfter }
