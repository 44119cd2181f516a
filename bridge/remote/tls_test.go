package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// enough is how long these tests wait for something that must happen.
const enough = 30 * time.Second

// serverTLS returns a configuration whose certificate the client under test does not trust.
func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.TLS
}

// serve calls f with the first connection.
func serve(t *testing.T, f func(net.Conn)) URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		f(conn)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-served
	})
	u, err := Parse("rfc2217+tls://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// dialed returns a TLS connection to a server that reads some bytes, closes begun, and reads no more until the test ends.
func dialed(t *testing.T) (s *secured, begun chan struct{}) {
	t.Helper()
	config := serverTLS(t)
	begun, end := make(chan struct{}), make(chan struct{})
	u := serve(t, func(conn net.Conn) {
		if _, err := tls.Server(conn, config).Read(make([]byte, 1)); err == nil {
			close(begun)
			<-end
		}
	})
	t.Cleanup(func() { close(end) })
	r, err := New(u, Options{TLS: TLS{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	conn, _, err := r.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*secured), begun
}

// closesAtOnce checks that Close returns long before crypto/tls's own timeout of 5 s.
func closesAtOnce(t *testing.T, s *secured) {
	t.Helper()
	began := time.Now()
	_ = s.Close() // close_notify cannot be sent
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %v with the peer's window closed", took)
	}
}

// The bridge closes sessions in Run, which must not wait for a peer that does not read.
func TestCloseDoesNotWait(t *testing.T) {
	t.Run("while a write is blocked", func(t *testing.T) {
		s, begun := dialed(t)
		written := make(chan error, 1)
		go func() {
			_, err := s.Write(make([]byte, 64<<20)) // more than fits anywhere
			written <- err
		}()
		<-begun
		closesAtOnce(t, s)
		select {
		case err := <-written:
			if err == nil {
				t.Error("64 MiB fit into the buffers")
			}
		case <-time.After(enough):
			t.Error("the blocked write does not return")
		}
	})
	t.Run("while no write is blocked", func(t *testing.T) {
		s, begun := dialed(t)
		if _, err := s.Write([]byte("!")); err != nil {
			t.Fatal(err)
		}
		<-begun
		_ = s.NetConn().SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := s.NetConn().Write(make([]byte, 64<<20)); err == nil {
			t.Fatal("64 MiB fit into the buffers")
		}
		closesAtOnce(t, s)
		if _, err := s.Read(make([]byte, 1)); err == nil {
			t.Error("a read of a closed connection succeeds")
		}
	})
}

// If there is room, Close sends close_notify: the peer sees an orderly end, not a truncation.
func TestCloseNotify(t *testing.T) {
	config := serverTLS(t)
	got := make(chan error, 1)
	u := serve(t, func(conn net.Conn) {
		tc := tls.Server(conn, config)
		text, err := io.ReadAll(tc)
		if err == nil && string(text) != "the last word" {
			t.Errorf("the server got %q", text)
		}
		got <- err
	})
	r, err := New(u, Options{TLS: TLS{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	conn, _, err := r.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("the last word")); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := <-got; err != nil {
		t.Errorf("the server saw %v, want an orderly end", err)
	}
}

// Cases that the interop tests cannot produce with OpenSSL.
func TestTLSErrors(t *testing.T) {
	config := serverTLS(t)
	old, strict12, strict13 := config.Clone(), config.Clone(), config.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	strict12.MaxVersion, strict12.ClientAuth = tls.VersionTLS12, tls.RequireAnyClientCert
	strict13.ClientAuth = tls.RequireAnyClientCert
	shake := func(c *tls.Config) func(net.Conn) {
		return func(conn net.Conn) { _ = tls.Server(conn, c).Handshake() }
	}
	for _, tt := range []struct {
		name   string
		server func(net.Conn)
		within time.Duration
		want   string
	}{
		{"TLS 1.1 at most", shake(old), enough, "the server's TLS is older than 1.2"},
		{"client certificate, TLS 1.2", shake(strict12), enough, "the server requires a client certificate"},
		{"client certificate, TLS 1.3", shake(strict13), enough, "the server requires a client certificate"},
		{"closed at once", func(net.Conn) {}, enough, "the peer does not speak TLS"},
		{"reset", func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.(*net.TCPConn).SetLinger(0)
		}, enough, "the peer does not speak TLS"},
		{"silent", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, 200 * time.Millisecond, "the peer does not answer the TLS handshake"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := serve(t, tt.server)
			r, err := New(u, Options{TLS: TLS{Insecure: true}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), tt.within)
			defer cancel()
			s, err := r.Dial(ctx, 0)
			if err == nil {
				_ = s.Close()
				t.Fatal("Dial returned a session")
			}
			if got := err.Error(); !strings.HasPrefix(got, u.Address()+": "+tt.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want one line that begins with %q", got, tt.want)
			}
		})
	}
}

// Certificates are renewed while a port exists: each dial loads the files again. If that fails, the configuration loaded
// before stays in use, which is logged once.
func TestTLSFilesAreReloaded(t *testing.T) {
	config, right := forIP(t, net.IPv4(127, 0, 0, 1))
	_, wrong := forIP(t, net.IPv4(127, 0, 0, 1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(enough))
			_ = tls.Server(conn, config).Handshake()
			_ = conn.Close()
		}
	}()
	defer func() {
		_ = l.Close()
		<-served
	}()
	u, err := Parse("rfc2217+tls://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	trusted := filepath.Join(tempDir(t), "ca.pem")
	trust := func(file string) {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(trusted, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust(wrong)
	var log bytes.Buffer
	r, err := New(u, Options{TLS: TLS{CAFile: trusted}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	dial := func(want string) {
		t.Helper()
		conn, _, err := r.connect(t.Context())
		if err == nil {
			_ = conn.Close()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("a dial: got %v, want %q", err, want)
		}
	}
	dial("signed by an unknown authority")
	trust(right)
	dial("")
	if err := os.Remove(trusted); err != nil {
		t.Fatal(err)
	}
	dial("")
	dial("")
	if n := strings.Count(log.String(), "those loaded before stay in use"); n != 1 {
		t.Errorf("the log has it %d times, want once\n%s", n, log.String())
	}
}
