package interop

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// startServeTLS starts our own access server with TLS, for a device, or a loop plug if d is nil. s.flags make a client
// trust its certificate.
func startServeTLS(t *testing.T, d *device, ca *authority, flags ...string) *server {
	t.Helper()
	program, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	own := ca.issue(t, "", time.Hour)
	s := &server{t: t, port: freePort(t), scheme: "rfc2217+tls", flags: []string{"--tls-ca", ca.file}}
	s.command = func() *exec.Cmd {
		args := append([]string{"serve", "-v", "--listen", fmt.Sprintf("127.0.0.1:%d", s.port), "--tls-cert", own.cert, "--tls-key", own.key}, flags...)
		if d != nil {
			return exec.Command(program, append(args, d.path)...)
		}
		return exec.Command(program, append(args, "--simulate", "loopback")...)
	}
	s.start()
	return s
}

// Our own client and server with TLS, each with a certificate: settings before the first byte, all bytes in both
// directions, and the same after a restart of the server.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	ca, clients := newAuthority(t), newAuthority(t)
	d := newDevice(t)
	s := startServeTLS(t, d, ca, "--tls-client-ca", clients.file, "--allow", "::ffff:127.0.0.1")
	mine := clients.issue(t, "client", time.Hour)
	a := s.attach(t, "--tls-cert", mine.cert, "--tls-key", mine.key)
	app := openPort(t, a)
	want := termios{baud: 19200, stop: 2}
	app.set(t, want)
	d.arrives(t, want) // the session may be up before the application sets anything
	for round := range 2 {
		if round > 0 {
			s.kill()
			d.slave.set(t, termios{baud: 300, stop: 1})
			eventually(t, "the agent has noticed the loss", func() bool { return len(a.losses(t)) == round })
			s.start()
		}
		exchange(t, app, d.line, []byte("x"))
		if got := d.termios(t); got != want {
			t.Errorf("round %d: at the first byte the device had %+v, want %+v", round, got, want)
		}
		up, down := noise('u', 200_000), noise('d', 200_000)
		both(t,
			func() error { return app.send(up) },
			func() error { return d.expect(up) },
			func() error { return d.send(down) },
			func() error { return app.expect(down) })
	}
	s.finish()
}

// `cat file > PORT`: all of it leaves the far UART, though close_notify, FIN and the close of the port come together.
func TestServeTLSLastBytes(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	s := startServeTLS(t, d, newAuthority(t))
	a := s.attach(t, "--linger", "100ms", "--baud", "38400")
	line := d.pace(t, 3840)
	want := noise('c', 20_000)
	for round := range 2 {
		cat(t, want, a.path)
		eventually(t, "the session ends", func() bool { return strings.Count(s.out.String(), "client left") > round })
		within(testenv.Patience, func() bool { return len(line.bytes()) >= (round+1)*len(want) })
	}
	settled(t, func() int { return len(line.bytes()) })
	if got := line.bytes(); !bytes.Equal(got, append(bytes.Clone(want), want...)) {
		lost, err := gap(got, append(bytes.Clone(want), want...))
		t.Errorf("%d bytes left the server's line, want %d; lost in one piece: %d (%v)", len(got), 2*len(want), lost, err)
	}
	s.finish()
}

// The device's last bytes reach the application, and when the server ends, the client sees an orderly end.
func TestServeTLSEnds(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	s := startServeTLS(t, d, newAuthority(t))
	a := s.attach(t)
	app := openPort(t, a)
	exchange(t, app, d.line, []byte("x"))
	for range 5 {
		last := noise('l', 50_000)
		both(t,
			func() error { return d.send(last) },
			func() error { return app.expect(last) })
	}
	s.finish()
	eventually(t, "the agent has noticed", func() bool { return len(a.losses(t)) == 1 })
	if log := a.out.String(); !strings.Contains(log, `err="closed by the access server"`) {
		t.Errorf("the agent does not see an orderly end:\n%s", lastOf(a.out))
	}
}

// Each mistake is one log line at both ends, which says what to do.
func TestServeTLSMistakes(t *testing.T) {
	t.Parallel()
	ca, clients := newAuthority(t), newAuthority(t)
	foreign, late := ca.issue(t, "client", time.Hour), clients.issue(t, "client", -time.Hour)
	secret := []string{"--tls-client-ca", clients.file}
	for _, tt := range []struct {
		name   string
		serve  []string
		scheme string
		flags  []string
		client string // after the address
		server []string
	}{
		{"no client certificate", secret, "rfc2217+tls", []string{"--tls-ca", ca.file},
			"the server requires a client certificate (--tls-cert FILE --tls-key FILE)",
			[]string{"client refused: it shows no certificate", "--tls-cert FILE --tls-key FILE"}},
		{"a client certificate of another signer", secret, "rfc2217+tls", []string{"--tls-ca", ca.file, "--tls-cert", foreign.cert, "--tls-key", foreign.key},
			"the server does not accept our certificate: unknown certificate authority",
			[]string{"client refused: its certificate is not accepted", "certificate=\"CN=a test's peer\"", "signed by unknown authority"}},
		{"an expired client certificate", secret, "rfc2217+tls", []string{"--tls-ca", ca.file, "--tls-cert", late.cert, "--tls-key", late.key},
			"the server does not accept our certificate: expired certificate",
			[]string{"client refused: its certificate is not accepted", "expired"}},
		{"a signer that the client does not know", nil, "rfc2217+tls", nil,
			"the server's certificate is signed by an unknown authority (--tls-ca FILE names the certificates to trust)",
			[]string{"client left: it does not accept this server's TLS"}},
		{"no TLS to a TLS port", nil, "rfc2217", nil,
			"not an RFC 2217 access server: it expects TLS (rfc2217+tls://127.0.0.1:",
			[]string{"client refused: it does not speak TLS", "this port wants TLS: telnetcpc attach PORT rfc2217+tls://127.0.0.1:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServeTLS(t, nil, ca, tt.serve...)
			s.scheme, s.flags = tt.scheme, tt.flags
			logsOnce(t, s, nil, tt.client)
			s.logs(tt.server...)
		})
	}
	t.Run("TLS to a plain port", func(t *testing.T) {
		t.Parallel()
		s := startServe(t)
		s.scheme, s.flags = "rfc2217+tls", []string{"--tls-ca", ca.file}
		logsOnce(t, s, nil, "the peer does not speak TLS (use rfc2217:// if the server has none)")
		s.logs("client refused: it speaks TLS", "this port has no TLS: telnetcpc attach PORT rfc2217://127.0.0.1:")
	})
}

// OpenSSL as the client: it sends the protocol by hand, and its bytes come back through a loop plug.
func TestServeTLSOpenSSL(t *testing.T) {
	t.Parallel()
	need(t, "openssl")
	ca := newAuthority(t)
	mine := ca.issue(t, "client", time.Hour)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := startServeTLS(t, nil, ca, "--tls-client-ca", ca.file)
			cmd := exec.Command("openssl", "s_client", "-quiet", "-no_ign_eof", version, "-verify_return_error", "-CAfile", ca.file, "-cert", mine.cert, "-key", mine.key,
				"-connect", fmt.Sprintf("127.0.0.1:%d", s.port))
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			client := start(t, cmd)
			// IAC WILL COM-PORT-OPTION, then bytes.
			if _, err := io.WriteString(in, "\xff\xfb\x2cthe loop plug"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it comes back", func() bool { return strings.Contains(client.out.String(), "the loop plug") })
			s.logs("client connected")
			_ = in.Close()
			s.logs("client left", "up=13", "down=13")
			s.finish()
		})
	}
}

// --tls-insecure gives one warning, when the port is made.
func TestTLSInsecureIsSaid(t *testing.T) {
	t.Parallel()
	s := startServeTLS(t, nil, newAuthority(t))
	s.flags = []string{"--tls-insecure"}
	a := s.attach(t)
	app := openPort(t, a)
	exchange(t, app, app, []byte("hello"))
	const line = `level=WARN msg="every certificate of the remote is accepted: insecure, anyone on the path can read and change bytes"`
	if n := strings.Count(a.out.String(), line); n != 1 {
		t.Errorf("got %d warnings, want one\n%s", n, lastOf(a.out))
	}
}
