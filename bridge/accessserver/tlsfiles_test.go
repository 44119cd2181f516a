package accessserver_test

import (
	"crypto/tls"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/simulate"
)

// The next client gets a renewed certificate. One that cannot be used is not used, and the log says so once.
func TestTLSRenewed(t *testing.T) {
	first, second := issue(t, nil, "first", -time.Hour, time.Hour), issue(t, nil, "second", -time.Hour, time.Hour)
	late := issue(t, nil, "late", -2*time.Hour, -time.Hour)
	f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: first.cert, Key: first.key}, &tls.Config{InsecureSkipVerify: true})
	shown := func() string {
		conn := f.dial().(*tls.Conn)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	put := func(from, to string) {
		t.Helper()
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, to+".new", text)
		if err := os.Chtimes(to+".new", time.Time{}, time.Now().Add(time.Duration(len(f.logged()))*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(to+".new", to); err != nil {
			t.Fatal(err)
		}
	}
	is := func(want string) {
		t.Helper()
		if got := shown(); got != want {
			t.Errorf("the client sees %q, want %q", got, want)
		}
	}
	unusable := func(want int) {
		t.Helper()
		if got := strings.Count(f.logged(), "cannot be used; the previous ones stay in use"); got != want {
			t.Errorf("the log has %d lines about files that cannot be used, want %d\n%s", got, want, f.logged())
		}
	}
	is("first")
	put(second.cert, first.cert) // its key comes a moment later
	is("first")
	is("first")
	unusable(1)
	put(second.key, first.key)
	is("second")
	is("second")
	put(late.cert, first.cert)
	put(late.key, first.key)
	is("second")
	is("second")
	unusable(2)
	if err := os.Remove(first.cert); err != nil {
		t.Fatal(err)
	}
	is("second")
	is("second")
	unusable(3)
	put(second.cert, first.cert)
	put(second.key, first.key)
	is("second")
	if got := strings.Count(f.logged(), "were read again"); got != 2 {
		t.Errorf("the log says %d times that files were read again, want 2", got)
	}
}

// If the certificate expires while the server runs, the log says so once when the next client connects.
func TestTLSExpires(t *testing.T) {
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	loaded := loadTLS(t, accessserver.TLSFiles{Cert: own.cert, Key: own.key})
	synctest.Test(t, func(t *testing.T) {
		l := newMemory()
		f := (&far{t: t}).startWith(l, accessserver.Config{Open: new(simulate.Loopback).Open, TLS: loaded})
		defer f.end()
		time.Sleep(time.Until(own.leaf.NotAfter.Add(time.Minute)))
		for range 2 {
			conn := tls.Client(l.dial(), &tls.Config{InsecureSkipVerify: true})
			if err := conn.Handshake(); err != nil {
				t.Error(err)
			}
			_ = conn.Close()
		}
		synctest.Wait()
		if n := strings.Count(f.logged(), "the certificate has expired"); n != 1 {
			t.Errorf("the log says it %d times, want once\n%s", n, f.logged())
		}
	})
}

// The error for bad files is one line that names the file and says what to do.
func TestLoadTLSErrors(t *testing.T) {
	own, other := issue(t, nil, "far", -time.Hour, time.Hour), issue(t, nil, "other", -time.Hour, time.Hour)
	late, early := issue(t, nil, "late", -2*time.Hour, -time.Hour), issue(t, nil, "early", time.Hour, 2*time.Hour)
	dir := tempDir(t)
	missing, word := dir+"/missing.pem", dir+"/word.pem"
	writeFile(t, word, []byte("no PEM\n"))
	for _, tt := range []struct {
		name  string
		files accessserver.TLSFiles
		want  []string
	}{
		{"no key", accessserver.TLSFiles{Cert: own.cert}, []string{"tls-cert " + own.cert, "the key is missing (give --tls-key too"}},
		{"no certificate", accessserver.TLSFiles{Key: own.key}, []string{"tls-key " + own.key, "the certificate is missing (give --tls-cert too"}},
		{"signer alone", accessserver.TLSFiles{ClientCA: own.cert}, []string{"tls-client-ca " + own.cert, "give --tls-cert and --tls-key too"}},
		{"no such certificate", accessserver.TLSFiles{Cert: missing, Key: own.key}, []string{"tls-cert " + missing, "want a PEM file"}},
		{"no such key", accessserver.TLSFiles{Cert: own.cert, Key: missing}, []string{"tls-key " + missing, "want a PEM file"}},
		{"a directory", accessserver.TLSFiles{Cert: dir, Key: own.key}, []string{"tls-cert " + dir, "want a PEM file"}},
		{"no PEM", accessserver.TLSFiles{Cert: word, Key: own.key}, []string{word, "want PEM files"}},
		{"the wrong way round", accessserver.TLSFiles{Cert: own.key, Key: own.cert}, []string{"may have been switched"}},
		{"another's key", accessserver.TLSFiles{Cert: own.cert, Key: other.key}, []string{own.cert, other.key, "private key does not match public key"}},
		{"expired", accessserver.TLSFiles{Cert: late.cert, Key: late.key}, []string{"tls-cert " + late.cert, "has expired on 2", "renew it"}},
		{"not yet valid", accessserver.TLSFiles{Cert: early.cert, Key: early.key}, []string{"tls-cert " + early.cert, "is not valid before 2", "is the clock wrong here?"}},
		{"no such signer", accessserver.TLSFiles{Cert: own.cert, Key: own.key, ClientCA: missing}, []string{"tls-client-ca " + missing, "want a PEM file"}},
		{"no certificate in it", accessserver.TLSFiles{Cert: own.cert, Key: own.key, ClientCA: own.key}, []string{"tls-client-ca " + own.key, "no certificate in it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := accessserver.LoadTLS(tt.files)
			if err == nil || strings.Contains(err.Error(), "\n") || slices.ContainsFunc(tt.want, func(w string) bool { return !strings.Contains(err.Error(), w) }) {
				t.Errorf("got %v, want one line with %q", err, tt.want)
			}
		})
	}
}
