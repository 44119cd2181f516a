package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// user is the name in the certificates: ser2net has the certificates that it accepts of a user in a directory of that name.
const user = "a test's peer"

// startSer2netTLS starts ser2net with TLS; s.flags make a client trust its certificate.
func startSer2netTLS(t *testing.T, d *device) *server {
	t.Helper()
	ca := newAuthority(t)
	return ser2netTLS(t, d, ca, ca.issue(t, "", time.Hour))
}

func ser2netTLS(t *testing.T, d *device, ca *authority, own pair) *server {
	t.Helper()
	s := ser2net(t, d, fmt.Sprintf("telnet(rfc2217),ssl(key=%s,cert=%s),tcp", own.key, own.cert))
	s.scheme, s.flags = "rfc2217+tls", []string{"--tls-ca", ca.file}
	return s
}

// startSer2netAuth starts ser2net that requires client certificates, signed by the same authority.
func startSer2netAuth(t *testing.T, d *device, ca *authority) *server {
	t.Helper()
	need(t, "openssl")
	dir := t.TempDir()
	allowed := filepath.Join(dir, user, "allowed_certs")
	if err := os.MkdirAll(allowed, 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(ca.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(allowed, "ca.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("openssl", "rehash", allowed).CombinedOutput(); err != nil {
		t.Fatalf("openssl rehash: %v\n%s", err, out)
	}
	own := ca.issue(t, "", time.Hour)
	s := ser2net(t, d, fmt.Sprintf("telnet(rfc2217),ssl(key=%s,cert=%s,clientauth,CA=%s),tcp", own.key, own.cert, ca.file), "authdir: "+dir)
	s.scheme, s.flags = "rfc2217+tls", []string{"--tls-ca", ca.file}
	return s
}

// A client with the right certificate has a normal session: settings before the first byte, all bytes, and the same
// after a restart of the server.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	d := newDevice(t)
	s := startSer2netAuth(t, d, ca)
	mine := ca.issue(t, "client", time.Hour)
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
		exchange(t, app, d.line, noise('u', 200_000))
		exchange(t, d.line, app, noise('d', 200_000))
	}
}

// --tls-name and --tls-insecure are for servers whose certificate has another name than the URL.
func TestTLSForAnotherName(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{{"--tls-name", "serial.example"}, {"--tls-insecure"}} {
		t.Run(flags[0], func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t)
			d := newDevice(t)
			s := ser2netTLS(t, d, ca, ca.issue(t, "serial.example", time.Hour))
			if flags[0] == "--tls-insecure" {
				s.flags = nil
			}
			exchange(t, d.line, openSession(t, s.attach(t, flags...), d), []byte("hello"))
		})
	}
}

// Each mistake is one log line, which says what to do. It is logged once, so nothing in it may change from dial to dial.
func TestTLSMistakes(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	foreign := other.issue(t, "client", time.Hour)
	plain := func(t *testing.T, d *device) *server {
		s := startSer2net(t, d)
		s.scheme, s.flags = "rfc2217+tls", []string{"--tls-ca", ca.file}
		return s
	}
	with := func(own pair, flags ...string) func(*testing.T, *device) *server {
		return func(t *testing.T, d *device) *server {
			s := ser2netTLS(t, d, ca, own)
			s.flags = flags
			return s
		}
	}
	auth := func(t *testing.T, d *device) *server { return startSer2netAuth(t, d, ca) }
	good := ca.issue(t, "", time.Hour)
	for _, tt := range []struct {
		name  string
		start func(*testing.T, *device) *server
		flags []string
		want  string // after the address
	}{
		{"a signer that the system does not know", with(good), nil,
			"the server's certificate is signed by an unknown authority (--tls-ca FILE names the certificates to trust)"},
		{"another signer", with(good, "--tls-ca", other.file), nil,
			"the server's certificate is signed by an unknown authority (--tls-ca FILE names the certificates to trust)"},
		{"another name", with(ca.issue(t, "serial.example", time.Hour), "--tls-ca", ca.file), nil,
			"the server's certificate is for another name (--tls-name NAME): x509: "},
		{"another name than --tls-name", with(good, "--tls-ca", ca.file, "--tls-name", "serial.example"), nil,
			"the server's certificate is for another name (--tls-name NAME): x509: "},
		{"expired", with(ca.issue(t, "", -time.Hour), "--tls-ca", ca.file), nil,
			"the server's certificate is valid from 2"},
		{"no client certificate", auth, nil,
			"the server requires a client certificate (--tls-cert FILE --tls-key FILE)"},
		{"a client certificate that the server does not know", auth, []string{"--tls-cert", foreign.cert, "--tls-key", foreign.key},
			"the server does not accept our certificate"},
		{"TLS to a plain port", plain, nil,
			"the peer does not speak TLS (use rfc2217:// if the server has none)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tt.start(t, newDevice(t))
			logsOnce(t, s, tt.flags, tt.want)
		})
	}
	t.Run("no TLS to a TLS port", func(t *testing.T) {
		t.Parallel()
		s := with(good)(t, newDevice(t))
		s.scheme, s.flags = "rfc2217", nil
		logsOnce(t, s, nil,
			"not an RFC 2217 access server: it is silent (a raw port? tcp://")
	})
}

// logsOnce expects one line for the first dial, and none for later ones.
func logsOnce(t *testing.T, s *server, flags []string, want string) {
	t.Helper()
	p := newProxy(t, s)
	a := attach(t, s.scheme+"://"+p.Addr().String(), slices.Concat(s.flags, flags, []string{"--connect", "always"})...)
	eventually(t, "the third dial", func() bool { return p.accepted.Load() > 2 })
	log := ""
	eventually(t, "the log says why", func() bool {
		log = a.out.String()
		return strings.Contains(log, "no session")
	})
	want = fmt.Sprintf(`msg="no session; trying again" port=ttyV0 err="%s: %s`, p.Addr(), want)
	if !strings.Contains(log, want) || strings.Count(log, "no session") != 1 {
		t.Errorf("the log has\n%swant one line with\n%s", log, want)
	}
}

// Mistakes in the files are reported before the port is made, as wrong use.
func TestTLSFiles(t *testing.T) {
	t.Parallel()
	program, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	one, two := ca.issue(t, "client", time.Hour), ca.issue(t, "client", time.Hour)
	missing := filepath.Join(t.TempDir(), "missing.pem")
	const secure, plain = "rfc2217+tls://127.0.0.1", "rfc2217://127.0.0.1"
	for _, tt := range []struct {
		name  string
		flags []string
		url   string
		want  string
	}{
		{"no such file of signers", []string{"--tls-ca", missing}, secure,
			"tls-ca: open " + missing + ": no such file or directory (want a PEM file of the certificates to trust)"},
		{"no signer in the file", []string{"--tls-ca", one.key}, secure, "tls-ca " + one.key + ": no certificate in it (want PEM)"},
		{"certificate without key", []string{"--tls-cert", one.cert}, secure, "tls-cert and tls-key belong together: give both"},
		{"key without certificate", []string{"--tls-key", one.key}, secure, "tls-cert and tls-key belong together: give both"},
		{"another certificate's key", []string{"--tls-cert", one.cert, "--tls-key", two.key}, secure,
			"tls-cert " + one.cert + ", tls-key " + two.key + ": tls: private key does not match public key"},
		{"no such key", []string{"--tls-cert", one.cert, "--tls-key", missing}, secure,
			"tls-cert " + one.cert + ", tls-key " + missing + ": open " + missing},
		{"settings of TLS without TLS", []string{"--tls-insecure"}, plain, "the tls settings need rfc2217+tls://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := slices.Concat([]string{"attach", "--host", "pty"}, tt.flags, []string{filepath.Join(t.TempDir(), "ttyV0"), tt.url})
			cmd := exec.Command(program, args...)
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != 2 {
				t.Errorf("exit status %d, want 2", got)
			}
			if text := string(out); !strings.HasPrefix(text, "telnetcpc: ") || !strings.Contains(text, tt.want) || strings.Count(text, "\n") != 1 {
				t.Errorf("it prints %q, want one line with %q", text, tt.want)
			}
		})
	}
}
