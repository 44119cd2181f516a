package probe_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/probe"
	"telnetcpc/bridge/remote"
)

// listen starts a listener and calls serve for each connection. All of them are closed when the test ends.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ended by the close of the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ended by the client's close
				defer func() { _ = conn.Close() }()
				serve(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// says sends a text and waits until the client closes.
func says(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		_, _ = io.Copy(io.Discard, conn)
	}
}

func newRemote(t *testing.T, u string, o remote.Options) *remote.Remote {
	t.Helper()
	parsed, err := remote.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	far, err := remote.New(parsed, o)
	if err != nil {
		t.Fatal(err)
	}
	return far
}

// row is a listener, and how looks_like begins for it.
type row struct{ name, url, want string }

// 3 s of silence mean a raw port, so all rows are probed at the same time.
func TestProbeOfOtherListeners(t *testing.T) {
	hostOf := func(s *httptest.Server) string {
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		return u.Host
	}
	web, secure := httptest.NewServer(nil), httptest.NewTLSServer(nil)
	t.Cleanup(web.Close)
	t.Cleanup(secure.Close)
	strict := httptest.NewUnstartedServer(nil)
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	strict.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs our handshake as an error
	strict.StartTLS()
	t.Cleanup(strict.Close)
	ssh := listen(t, says("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"))
	silent := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	deaf := listen(t, func(conn net.Conn) { // like a raw port: it ignores the end of our half
		_, _ = io.Copy(io.Discard, conn)
		<-t.Context().Done()
	})
	rows := []row{
		{"web server", hostOf(web), `a web server: it sent "HTTP/1.1 400 Bad Request"`},
		{"web server through TLS", "rfc2217+tls://" + hostOf(secure), `a web server: it sent "HTTP/1.1 400 Bad Request"`},
		{"web server as tcp://", "tcp://" + hostOf(web), "a web server"},
		// Unlike OpenSSL, Go's TLS server sends no alert if the client sends no handshake.
		{"TLS server that stays silent", hostOf(secure), "silent; it closes when the client half-closes the connection"},
		{"TLS server with an alert", listen(t, says("\x15\x03\x03\x00\x02\x02\x32")), "a TLS server (try rfc2217+tls://)"},
		{"SSH", ssh, `an SSH server: it sent "SSH-2.0-OpenSSH_9.2p1 Debian-2" (is the port right?)`},
		{"SSH as telnet://", "telnet://" + ssh, "an SSH server"},
		{"FTP", listen(t, says("220 (vsFTPd 3.0.3)\r\n")), "a text service (FTP)"},
		{"SMTP", listen(t, says("220 mx.example ESMTP Postfix\r\n")), "a text service (SMTP, mail)"},
		{"something with 220", listen(t, says("220 ready\r\n")), "a text service (FTP or mail)"},
		{"POP3", listen(t, says("+OK hello\r\n")), "a text service (POP3)"},
		{"device that sends", listen(t, says("\x02 12.5 kg\r\n")), `it sends data, but no Telnet: it sent "\x02 12.5 kg\r\n" (a raw port? tcp://127.0.0.1`},
		{"silent", silent, "silent; it closes when the client half-closes the connection (a raw port? tcp://127.0.0.1:"},
		{"silent for ever", deaf, "silent (a raw port? tcp://127.0.0.1:"},
		{"echo", listen(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) }), "it echoes what it receives"},
		{"closes at once", listen(t, func(net.Conn) {}), "it closes the connection at once"},
		{"port in use, and no Telnet", listen(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "Port already in use\r\n")
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
		}), `a port in use by another client: it sent "Port already in use\r\n"`},
		{"a login", listen(t, says("\xff\xfd\x18\xff\xfd\x20\xff\xfb\x03\xff\xfe\x2chost login: ")),
			`Telnet, but it refuses COM-PORT-OPTION: it sent "host login: "`},
		{"Telnet that closes", listen(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "\xff\xfb\x01")
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
		}), "Telnet, but it closes the connection before it agrees to COM-PORT-OPTION"},
		{"TLS that requires a client certificate", "rfc2217+tls://" + hostOf(strict), "it closes right after the TLS handshake: it may require a client certificate"},
		{"Telnet that does not answer", listen(t, says("\xff\xfb\x01")), "Telnet, but it does not answer COM-PORT-OPTION"},
	}
	reports := probeAll(t, rows)
	for i, test := range rows {
		t.Run(test.name, func(t *testing.T) {
			r := reports[i]
			if r == nil {
				t.Fatal("no report")
			}
			if r.AccessServer || !strings.HasPrefix(r.LooksLike, test.want) {
				t.Errorf("access server: %v; it looks like %q, want %q", r.AccessServer, r.LooksLike, test.want)
			}
			if len(r.Deviations) > 0 {
				t.Errorf("deviations of a listener that is no access server: %v", r.Deviations)
			}
		})
	}
}

func probeAll(t *testing.T, rows []row) []*probe.Report {
	t.Helper()
	reports := make([]*probe.Report, len(rows))
	var probes sync.WaitGroup
	for i, test := range rows {
		o := remote.Options{TLS: remote.TLS{Insecure: strings.HasPrefix(test.url, "rfc2217+tls:")}}
		far := newRemote(t, test.url, o)
		probes.Go(func() {
			var err error
			if reports[i], err = probe.Run(t.Context(), far, probe.Options{Timeout: time.Minute}); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		})
	}
	probes.Wait()
	return reports
}

// ser2net negotiates with a second client, reports that the port is in use, and closes.
func TestProbeOfPortInUse(t *testing.T) {
	t.Parallel()
	at := listen(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "\xff\xfb\x03\xff\xfd\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00\xff\xfb\x00\xff\xfd\x2cPort already in use\r\n")
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
	r, err := probe.Run(t.Context(), newRemote(t, at, remote.Options{}), probe.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if !r.AccessServer || !strings.Contains(r.LooksLike, "its port is in use by another client") || len(r.Deviations) != 1 || r.Deviations[0].Name != "in-use" {
		t.Errorf("got %+v", r)
	}
}

func TestProbeCannotConnect(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := l.Addr().String()
	_ = l.Close()
	silent := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	for _, test := range []struct {
		name, url string
		timeout   time.Duration
		want      string
	}{
		{"refused", refused, 0, "connection refused (is the access server running"},
		{"no TLS, in time", "rfc2217+tls://" + silent, 50 * time.Millisecond, "no answer within 50ms (--timeout D waits longer)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := probe.Run(t.Context(), newRemote(t, test.url, remote.Options{}), probe.Options{Timeout: test.timeout})
			if r != nil || err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, %v; want an error with %q", r, err, test.want)
			}
		})
	}
}

func TestProbeIsShort(t *testing.T) {
	at := listen(t, says("one moment"))
	r, err := probe.Run(t.Context(), newRemote(t, at, remote.Options{}), probe.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if r.AccessServer || !strings.HasPrefix(r.LooksLike, "unknown: the probe ran out of time") {
		t.Errorf("got %+v", r)
	}
}

func TestProbeIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	at := listen(t, func(conn net.Conn) {
		cancel() // as soon as the probe has connected
		_, _ = io.Copy(io.Discard, conn)
	})
	if _, err := probe.Run(ctx, newRemote(t, at, remote.Options{}), probe.Options{Timeout: time.Minute}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
