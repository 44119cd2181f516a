package accessserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/accessserver"
	"telnetcpc/bridge/accessserver/devicetest"
	"telnetcpc/bridge/accessserver/simulate"
	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// through returns a client's end of TLS over conn.
func through(t *testing.T, conn net.Conn, config *tls.Config) *tls.Conn {
	t.Helper()
	c := tls.Client(conn, config)
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// overTLS starts a server with TLS on the loopback interface.
func overTLS(t *testing.T, config accessserver.Config, files accessserver.TLSFiles, client *tls.Config) *far {
	t.Helper()
	l := listen(t)
	f := &far{t: t}
	if config.Open == nil {
		device := new(simulate.Loopback)
		device.Observe(f.observe)
		config.Open = device.Open
	}
	config.TLS = loadTLS(t, files)
	dial := dialTCP(t, l)
	f.dial = func() net.Conn { return through(t, dial(), client) }
	return f.startWith(l, config)
}

// A session works through TLS: settings, bytes in both directions, and a client that leaves.
func TestTLS(t *testing.T) {
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			client := own.trusts()
			client.MaxVersion = version
			f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, client)
			c := f.connect(rfc2217.Config{})
			c.set(fast)
			text := strings.Repeat("0123456789\xff", 10_000)
			c.send(text)
			f.does("20000000 8N1: " + text)
			devicetest.Eventually(t, "all of it has come back", func() bool { return strings.Join(c.seen(), "")[len("modem none"):] == text })
			c.end()
			f.awaitLog("client left")
		})
	}
}

// The bytes of a client that sends close_notify and leaves reach the UART, and then the next client has it.
func TestTLSLastBytesUp(t *testing.T) {
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, own.trusts())
	for range 3 {
		c := f.call()
		c.say(rfc2217.AppendSettings(nil, fast))
		c.say([]byte("the last word"))
		_ = c.Close()
	}
	devicetest.Eventually(t, "all three have come", func() bool { return strings.Count(f.sent(), "the last word") == 3 })
}

// However a session ends, the client gets what it was sent before and then the end in order, although the server has unread bytes
// of the client.
func TestTLSClientGetsTheLastBytes(t *testing.T) {
	const size = 200_000
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	for _, tt := range []struct {
		name string
		end  func(f *far, d *fullDevice)
	}{
		{"the device is lost", func(_ *far, d *fullDevice) { close(d.lost) }},
		{"the server ends", func(f *far, _ *fullDevice) { go f.end() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &fullDevice{left: size, empty: make(chan struct{}), lost: make(chan struct{}), closed: make(chan struct{})}
			open := func(context.Context) (uart.Device, error) { return d, nil }
			f := overTLS(t, accessserver.Config{Open: open}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, own.trusts())
			conn := f.dial().(*tls.Conn)
			_ = conn.NetConn().(*net.TCPConn).SetReadBuffer(8 << 10)
			_ = conn.SetDeadline(time.Now().Add(testenv.Patience))
			hello := telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort)
			if _, err := conn.Write(append(hello, make([]byte, 64<<10)...)); err != nil {
				t.Fatal(err)
			}
			<-d.empty // the rest is on its way
			tt.end(f, d)
			all, err := io.ReadAll(conn)
			if got := bytes.Count(all, []byte("x")); got != size || err != nil {
				t.Errorf("%d bytes of %d came, then %v", got, size, err)
			}
			_ = conn.Close()
		})
	}
}

// A second client reads why it is refused, although it has sent more than the server reads.
func TestTLSRefusalIsRead(t *testing.T) {
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, own.trusts())
	defer f.call().Close()
	second := f.dial()
	_ = second.SetDeadline(time.Now().Add(testenv.Patience))
	if _, err := second.Write(make([]byte, 8<<10)); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(second)
	if err != nil || !strings.Contains(string(said), "already in use") {
		t.Errorf("the second client reads %q, %v", said, err)
	}
}

// A client that stalls in its handshake has 10 s for it and the negotiation. It keeps nobody waiting and does not own the device.
func TestTLSStalls(t *testing.T) {
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	loaded := loadTLS(t, accessserver.TLSFiles{Cert: own.cert, Key: own.key})
	client := own.trusts()
	client.InsecureSkipVerify = true // the bubble has another time
	for _, tt := range []struct {
		name  string
		stall func(conn net.Conn)
	}{
		{"silent", func(net.Conn) {}},
		{"one byte", func(conn net.Conn) { _, _ = conn.Write([]byte{0x16}) }},
		{"half a greeting", func(conn net.Conn) { _, _ = conn.Write([]byte("\x16\x03\x01\x02\x00\x01\x00")) }},
		{"a byte a second", func(conn net.Conn) {
			greeting := append([]byte("\x16\x03\x01\x02\x00\x01\x00"), make([]byte, 100)...)
			for _, b := range greeting {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}},
		{"silent after a late handshake", func(conn net.Conn) {
			time.Sleep(6 * time.Second)
			_ = tls.Client(conn, client).Handshake()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newMemory()
				f := (&far{t: t, dial: l.dial}).startWith(l, accessserver.Config{Open: new(simulate.Loopback).Open, TLS: loaded})
				defer f.end()
				began := time.Now()
				stalled := l.dial()
				ended := make(chan time.Duration, 1)
				go func() {
					tt.stall(stalled)
					_, _ = io.Copy(io.Discard, stalled)
					ended <- time.Since(began)
				}()
				synctest.Wait()
				f.dial = func() net.Conn { return through(t, l.dial(), client) }
				c := f.call()
				if took := time.Since(began); took != 0 {
					t.Errorf("another client had the device after %v", took)
				}
				_ = c.Close()
				if took := <-ended; took > 12*time.Second || took < 9*time.Second {
					t.Errorf("it was ended after %v, want 10 s", took)
				}
				_ = stalled.Close()
			})
		})
	}
}

// A client with the wrong protocol reads so, and the log has one line about it.
func TestTLSAndPlain(t *testing.T) {
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	t.Run("a plain client", func(t *testing.T) {
		f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, own.trusts())
		for _, first := range []string{"\xff\xfb\x2c", "GET / HTTP/1.1\r\n\r\n", strings.Repeat("x", 10_000)} {
			var d net.Dialer
			conn, err := d.DialContext(t.Context(), "tcp", f.dial().RemoteAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(testenv.Patience))
			if _, err := io.WriteString(conn, first); err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(conn)
			if string(said) != "this port wants TLS (rfc2217+tls://)\r\n" || err != nil {
				t.Errorf("after %.20q it reads %q, %v", first, said, err)
			}
			_ = conn.Close()
		}
		f.awaitLog("client refused: it does not speak TLS", `sent="\"\\xff\\xfb,\""`, "this port wants TLS: telnetcpc attach PORT rfc2217+tls://127.0.0.1:")
	})
	t.Run("a TLS client of a plain server", func(t *testing.T) {
		f := overTCP(t)
		conn := f.dial()
		_ = conn.SetDeadline(time.Now().Add(testenv.Patience))
		err := tls.Client(conn, own.trusts()).HandshakeContext(t.Context())
		var header tls.RecordHeaderError
		if !errors.As(err, &header) {
			t.Errorf("the client gets %v", err)
		}
		f.awaitLog("client refused: it speaks TLS", "this port has no TLS: telnetcpc attach PORT rfc2217://127.0.0.1:")
	})
	t.Run("a client that does not trust the certificate", func(t *testing.T) {
		f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, own.trusts())
		conn, err := net.Dial("tcp", f.dial().RemoteAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := tls.Client(conn, &tls.Config{ServerName: "far.example", RootCAs: x509.NewCertPool()}).HandshakeContext(t.Context()); err == nil {
			t.Error("it trusts it")
		}
		f.awaitLog("client left: it does not accept this server's TLS", "bad certificate")
	})
	t.Run("a client of TLS 1.1", func(t *testing.T) {
		f := overTLS(t, accessserver.Config{}, accessserver.TLSFiles{Cert: own.cert, Key: own.key}, own.trusts())
		conn, err := net.Dial("tcp", f.dial().RemoteAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		old := own.trusts()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		if err := tls.Client(conn, old).HandshakeContext(t.Context()); err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("the client gets %v", err)
		}
		f.awaitLog("client refused: the TLS handshake failed", "unsupported versions")
	})
}

// Only a client with a certificate of the right CA gets the device. The others get a TLS alert, although they have sent bytes that
// nobody reads.
func TestTLSClientCertificate(t *testing.T) {
	own, signer, other := issue(t, nil, "far", -time.Hour, time.Hour), issue(t, nil, "signer", -time.Hour, time.Hour), issue(t, nil, "other", -time.Hour, time.Hour)
	files := accessserver.TLSFiles{Cert: own.cert, Key: own.key, ClientCA: signer.cert}
	for _, tt := range []struct {
		name         string
		shows        *issued
		log, refusal string // none: it has the device
	}{
		{"none", nil, "client refused: it shows no certificate", "certificate required"},
		{"another signer's", issue(t, other, "mallory", -time.Hour, time.Hour), "CN=mallory", "unknown certificate authority"},
		{"expired", issue(t, signer, "late", -2*time.Hour, -time.Hour), "CN=late", "expired certificate"},
		{"the right one", issue(t, signer, "near", -time.Hour, time.Hour), "", ""},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tt.name+", "+tls.VersionName(version), func(t *testing.T) {
				client := own.trusts()
				client.MaxVersion = version
				if tt.shows != nil {
					pair := tt.shows.pair()
					client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
				}
				l := listen(t)
				f := (&far{t: t}).startWith(l, accessserver.Config{Open: new(simulate.Loopback).Open, TLS: loadTLS(t, files)})
				conn := tls.Client(dialTCP(t, l)(), client)
				_ = conn.SetDeadline(time.Now().Add(testenv.Patience))
				hello := telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort)
				_, err := conn.Write(append(hello, make([]byte, 32<<10)...)) // TLS 1.3: it may write before it is refused
				if err == nil {
					_, err = conn.Read(make([]byte, 1))
				}
				if tt.refusal == "" {
					if err != nil {
						t.Errorf("it is refused: %v", err)
					}
					f.awaitLog("client connected")
					return
				}
				want := tt.refusal
				if version == tls.VersionTLS12 && want == "certificate required" {
					want = "handshake failure"
				}
				if err == nil || !strings.Contains(err.Error(), "remote error: tls: "+want) {
					t.Errorf("it gets %v, want %s", err, want)
				}
				f.awaitLog("client refused: it", tt.log)
				if n := strings.Count(f.logged(), "\n"); n != 1 {
					t.Errorf("%d lines in the log, want one", n)
				}
			})
		}
	}
}

// The server stops without waiting for a client that reads nothing.
func TestTLSEndsAtOnce(t *testing.T) {
	own := issue(t, nil, "far", -time.Hour, time.Hour)
	loaded := loadTLS(t, accessserver.TLSFiles{Cert: own.cert, Key: own.key})
	synctest.Test(t, func(t *testing.T) {
		l := newMemory()
		client := &tls.Config{InsecureSkipVerify: true} // the bubble has another time
		f := (&far{t: t}).startWith(l, accessserver.Config{Open: new(simulate.Loopback).Open, TLS: loaded})
		f.dial = func() net.Conn { return through(t, l.dial(), client) }
		c := f.call()
		c.say(rfc2217.AppendSettings(nil, fast))
		go func() { // ends with the connection
			for {
				if _, err := c.Write(make([]byte, 4<<10)); err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Minute) // its echo fills everything
		for _, first := range []string{"", "\x16\x03\x01\x02\x00\x01\x00"} {
			stalled := l.dial()
			defer stalled.Close()
			if _, err := io.WriteString(stalled, first); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		began := time.Now()
		f.end()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the server's end took %v", took)
		}
		_ = c.Close()
	})
}
