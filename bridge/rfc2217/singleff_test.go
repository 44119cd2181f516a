package rfc2217_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
)

// TestLastByteIs255: from a server that does not double a 255, one that nothing follows is data after 20 to 50 ms, and one that
// something follows is decoded as without a cut.
func TestLastByteIs255(t *testing.T) {
	const silence = 100 * time.Millisecond
	type piece struct {
		after time.Duration
		hex   string
	}
	for _, tt := range []struct {
		name   string
		pieces []piece
		eof    bool
		want   []string
	}{
		{"a frame that ends with it", []piece{{0, "0103ff"}}, false, []string{"data \x01\x03", "data \xff"}},
		{"nothing else", []piece{{0, "ff"}}, false, []string{"data \xff"}},
		{"two of them", []piece{{0, "61ffff"}}, false, []string{"data a\xff", "data \xff"}},
		{"one after the other", []piece{{0, "ff"}, {silence, "ff"}, {silence, "62"}}, false, []string{"data \xff", "data \xff", "data b"}},
		{"cut before data", []piece{{0, "61ff"}, {10 * time.Millisecond, "62"}}, false, []string{"data a", "data \xff", "data b"}},
		{"cut before a command", []piece{{0, "61ff"}, {10 * time.Millisecond, "fa2c6b30fff0"}}, false, []string{"data a", "modem CTS|DSR"}},
		{"a trickle of them", []piece{{0, "ff"}, {15 * time.Millisecond, "61ff"}, {15 * time.Millisecond, "fa2c6b30fff0"}}, false,
			[]string{"data \xff", "data a", "modem CTS|DSR"}},
		{"inside a command", []piece{{0, "fffa2c6b30ff"}, {silence, "f0"}}, false, []string{"modem CTS|DSR"}},
		{"a command that a slow line splits: it cannot be distinguished", []piece{{0, "ff"}, {silence, "fd03"}}, false, []string{"data \xff", "data \xfd\x03"}},
		{"the very last", []piece{{0, "61ff"}}, true, []string{"data a", "data \xff", "error EOF"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := session(t, rfc2217.Config{Quirks: rfc2217.SingleFF}, do44)
				var last time.Time
				go func() {
					for _, p := range tt.pieces {
						time.Sleep(p.after)
						last = time.Now()
						_, _ = far.Write(unhex(t, p.hex))
					}
					if tt.eof {
						_ = far.CloseWrite()
					}
				}()
				for _, want := range tt.want {
					if got := next(t, c); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				}
				if took := time.Since(last); took > 50*time.Millisecond {
					t.Errorf("the last came after %v, want 50ms at most", took)
				}
			})
		})
	}
}

// TestLastByteIs255Unread: bytes that came while the application did not read decide what a 255 is, however late they are read.
func TestLastByteIs255Unread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{Quirks: rfc2217.SingleFF}, do44)
		far.send(t, "61ff")
		if got := next(t, c); got != "data a" {
			t.Errorf("got %q", got)
		}
		time.AfterFunc(10*time.Millisecond, func() { _, _ = far.Write(unhex(t, "fa2c6b30fff0")) })
		time.Sleep(time.Minute)
		if got := next(t, c); got != "modem CTS|DSR" {
			t.Errorf("got %q, want the modem state", got)
		}
	})
}

// TestLastByteIs255OverTCP: the same over a TCP socket.
func TestLastByteIs255OverTCP(t *testing.T) {
	conn, far := tcpPair(t)
	if _, err := far.Write(unhex(t, do44)); err != nil {
		t.Fatal(err)
	}
	c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{Quirks: rfc2217.SingleFF | rfc2217.KeepGreeting})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	stop := time.AfterFunc(30*time.Second, func() { _ = c.Close() })
	defer stop.Stop()
	for range 3 {
		if _, err := far.Write(unhex(t, "0103ff")); err != nil {
			t.Fatal(err)
		}
		got := next(t, c) + next(t, c)
		if want := "data \x01\x03data \xff"; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// loaded is a connection on a loaded machine: each call takes a moment.
type loaded struct{ net.Conn }

func (l loaded) SetReadDeadline(t time.Time) error {
	err := l.Conn.SetReadDeadline(t)
	time.Sleep(time.Millisecond)
	return err
}

// TestLastByteIs255Loaded: rechecks do not delay the time after which it is data.
func TestLastByteIs255Loaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, far := wirePair()
		far.send(t, do44)
		c, err := rfc2217.Open(t.Context(), loaded{conn}, rfc2217.Config{Quirks: rfc2217.SingleFF | rfc2217.KeepGreeting})
		if err != nil {
			t.Fatal(err)
		}
		stop := time.AfterFunc(time.Minute, func() { _ = c.Close() })
		defer func() {
			stop.Stop()
			_ = c.Close()
		}()
		for range 3 {
			began := time.Now()
			far.send(t, "61ff")
			got := next(t, c) + next(t, c)
			if took := time.Since(began); got != "data adata \xff" || took > 50*time.Millisecond {
				t.Errorf("got %q after %v, want both within 50 ms", got, took)
			}
		}
	})
}
