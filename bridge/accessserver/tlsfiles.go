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

// TLSFiles are the files of a server's TLS, all PEM.
type TLSFiles struct {
	Cert     string // the server's certificate, followed by its intermediate certificates
	Key      string // its private key; may be the same file
	ClientCA string // the CAs of the clients' certificates; empty: clients need none
}

// TLS is the TLS configuration of a server. It reads its files again when they have changed, because certificates are renewed
// while a server runs. It may be used from any goroutine.
type TLS struct {
	files TLSFiles

	mu      sync.Mutex  // guards everything below; held while the files are read
	config  *tls.Config // the current one; replaced, never changed
	read    string      // state of the files when they were last read, successfully or not
	expired bool        // it was logged that the certificate has expired
}

// LoadTLS reads and checks the files. The error is one line that says what to do, and begins with the name of the option:
// tls-cert, tls-key or tls-client-ca.
func LoadTLS(files TLSFiles) (*TLS, error) {
	switch {
	case files.Cert == "" && files.Key == "" && files.ClientCA != "":
		return nil, fmt.Errorf("tls-client-ca %s: clients show certificates only with TLS (give --tls-cert and --tls-key too)", files.ClientCA)
	case files.Cert == "":
		return nil, fmt.Errorf("tls-key %s: the certificate is missing (give --tls-cert too; if one file has both, give it twice)", files.Key)
	case files.Key == "":
		return nil, fmt.Errorf("tls-cert %s: the key is missing (give --tls-key too; if one file has both, give it twice)", files.Cert)
	}
	t := &TLS{files: files, read: files.state()}
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
		return nil, fmt.Errorf("tls-key %s: the key is encrypted, and nobody can type the passphrase here (openssl pkey -in FILE -out NEW removes it)", f.Key)
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
	// Dynamic record sizing splits the first writes into small records, which helps browsers; here each write should be one
	// record. A session ticket would admit a client whose certificate is not accepted any more, and the time that it saves
	// is not needed.
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		DynamicRecordSizingDisabled: true, SessionTicketsDisabled: true,
	}
	if f.ClientCA == "" {
		return c, nil
	}
	signers, err := readPEM("tls-client-ca", f.ClientCA, "the CAs of the clients' certificates")
	if err != nil {
		return nil, err
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(signers) {
		return nil, fmt.Errorf("tls-client-ca %s: no certificate in it (want a PEM file of the CAs of the clients' certificates)", f.ClientCA)
	}
	return c, nil
}

// readPEM reads a file. option and what are for the error: the option that names the file, and what it should contain.
func readPEM(option, file, what string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w (want a PEM file of %s)", option, file, causeOf(err), what)
	}
	return text, nil
}

// causeOf returns the cause of a *fs.PathError, whose path the caller's message already has.
func causeOf(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// state returns the sizes and times of the files as text, which differs if one of them has changed.
func (f TLSFiles) state() string {
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

// current returns the configuration for a client that connects now. Files that have changed are read again; if that fails, it is
// logged once, and the previous configuration stays.
func (t *TLS) current(log *slog.Logger) *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if state := t.files.state(); state != t.read { // before they are read: a change in between is found the next time
		t.read = state
		config, err := t.files.load(now)
		if err != nil {
			log.Warn("TLS files have changed but cannot be used; the previous ones stay in use", "err", err)
		} else {
			t.config, t.expired = config, false
			log.Info("TLS files have changed and were read again", "certificate", t.files.Cert, "valid_to", validTo(config))
		}
	}
	if end := validTo(t.config); now.After(end) && !t.expired {
		t.expired = true
		log.Warn("the certificate has expired: clients will not accept it", "certificate", t.files.Cert, "valid_to", end,
			"hint", "renew it; the new one is read when the next client connects")
	}
	return t.config
}

// validTo returns when the certificate expires.
func validTo(c *tls.Config) time.Time { return c.Certificates[0].Leaf.NotAfter }
