package rfc2217_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
)

func TestMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, willSGA+do44)
		if _, err := c.Write([]byte("abc\xff")); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second finds the first under way
			if !c.Mark() {
				t.Fatal("no mark under way")
			}
		}
		synctest.Wait()
		if got, want := verbs(far.taken()), "\"abc\xff\", DO TIMING-MARK"; got != want {
			t.Errorf("sent %q, want %q: one mark, behind the data", got, want)
		}
		if _, err := c.Write([]byte("more")); err != nil {
			t.Fatal(err)
		}
		far.send(t, markWont+"78"+markWont)
		if got, want := next(t, c), "marked 4"; got != want {
			t.Errorf("got %q, want %q: what lay before the mark", got, want)
		}
		if got, want := next(t, c), "data x"; got != want {
			t.Errorf("got %q, want %q: an answer to no mark says nothing", got, want)
		}
		wantMark(t, c, far, "marked 8")
	})
}

// TestOpeningsMark: the session begins when the opening's mark is answered, or as soon as the server begins to serve, and
// nothing that comes meanwhile is lost or changes its place. A late answer is no answer to a later mark.
func TestOpeningsMark(t *testing.T) {
	const modem = "fffa2c6b30fff0"
	for _, tt := range []struct {
		name  string
		after string        // what comes behind the agreement
		takes time.Duration // how long the opening takes then
		next  []string
	}{
		{"answered", markWont + "78", 0, []string{"data x"}},
		{"answered, behind other verbs", "fffd00" + markWont + modem, 0, []string{"modem CTS|DSR"}},
		{"the modem state first", modem + markWont + "78", 0, []string{"modem CTS|DSR", "data x"}},
		{"a greeting first", "78" + modem + markWont + "79", 0, []string{"modem CTS|DSR", `greeting 1 "x"`, "data y"}},
		{"a greeting that begins like another text", "506f7274" + modem + markWont, 0, []string{"modem CTS|DSR", `greeting 4 "Port"`}},
		{"no answer in time", "", time.Second, []string{"data x"}},
		{"none while it serves us", modem, 20 * time.Millisecond, []string{"modem CTS|DSR", "data x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				far.send(t, willSGA+do44+tt.after)
				began := time.Now()
				c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				if took := time.Since(began); took != tt.takes {
					t.Errorf("the opening took %v, want %v", took, tt.takes)
				}
				if tt.takes > 0 {
					if tt.takes == time.Second && c.Mark() {
						t.Error("a server is asked again that has not answered")
					}
					far.send(t, markWont+"78")
				}
				for _, want := range tt.next {
					if got := next(t, c); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				}
				wantMark(t, c, far, "marked 0")
			})
		})
	}
}

// wantMark asks for a mark, and wants the answer to be told.
func wantMark(t *testing.T, c *rfc2217.Client, far *end, want string) {
	t.Helper()
	if !c.Mark() {
		t.Fatal("no mark under way")
	}
	synctest.Wait()
	far.send(t, markWont)
	if got := next(t, c); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestNoMark: a server that has spoken of nothing but 44 might give the request to its UART.
func TestNoMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, do44)
		if c.Mark() {
			t.Error("a mark is under way")
		}
		synctest.Wait()
		if got := far.taken(); len(got) > 0 {
			t.Errorf("sent %q", verbs(got))
		}
	})
}

// TestPeerMark: a mark that the server asks for is answered, once each time.
func TestPeerMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, do44)
		far.send(t, "61fffd06fffd0662")
		for _, want := range []string{"data a", "data b"} {
			if got := next(t, c); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		synctest.Wait()
		if got, want := verbs(far.taken()), "WILL TIMING-MARK, WILL TIMING-MARK"; got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	})
}

// TestFirstMarkLater: a server that speaks of other options only behind the agreement, or without one, is asked for a
// first mark then, and for others when that is answered: whether it answers marks is known before somebody waits for one.
func TestFirstMarkLater(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain %v", plain), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c *rfc2217.Client
				var far *end
				if plain {
					conn, other := wirePair()
					opened, err := rfc2217.OpenTelnet(t.Context(), conn, rfc2217.Config{})
					if err != nil {
						t.Fatal(err)
					}
					c, far = opened, other
					defer func() { _ = c.Close() }()
				} else {
					c, far = session(t, rfc2217.Config{}, do44)
				}
				far.send(t, willSGA+"78")
				if got := next(t, c); got != "data x" {
					t.Errorf("got %q, want the data", got)
				}
				synctest.Wait()
				if said := verbs(far.taken()); !strings.HasSuffix(said, ", DO TIMING-MARK") || strings.Count(said, "TIMING-MARK") != 1 {
					t.Errorf("said %q, want one mark at its end", said)
				}
				time.Sleep(2 * time.Second)
				if c.Mark() {
					t.Error("a server is asked again that has not answered")
				}
				far.send(t, markWont+"79")
				if got := next(t, c); got != "data y" {
					t.Errorf("got %q, want the data", got)
				}
				wantMark(t, c, far, "marked 0")
			})
		})
	}
}

// TestFirstMarkOverdue: while the answer to the first mark may still come another is sent behind it; when it does not come
// there is none to wait for, until both are answered after all.
func TestFirstMarkOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, far := wirePair()
		far.send(t, willSGA+do44+"fffa2c6b30fff0")
		c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if got := next(t, c); got != "modem CTS|DSR" {
			t.Errorf("got %q, want the modem state", got)
		}
		if _, err := c.Write([]byte("123")); err != nil || !c.Mark() {
			t.Fatalf("no mark under way; %v", err)
		}
		synctest.Wait()
		if _, err := c.Write([]byte("456")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if c.Mark() {
			t.Error("a mark is waited for though the first one was not answered")
		}
		time.Sleep(time.Hour)
		if c.Mark() {
			t.Error("a server is asked again that has not answered")
		}
		far.send(t, markWont+markWont)
		if got := next(t, c); got != "marked 3" {
			t.Errorf("got %q, want marked 3", got)
		}
		wantMark(t, c, far, "marked 6")
	})
}

// TestMarkAnsweredLate: an answered mark is believed, whenever its answer comes, and so is the one after it.
func TestMarkAnsweredLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, willSGA+do44)
		if _, err := c.Write([]byte("123")); err != nil || !c.Mark() {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := c.Write([]byte("456")); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Hour, func() { _, _ = far.Write(unhex(t, markWont)) })
		if got := next(t, c); got != "marked 3" {
			t.Errorf("got %q, want marked 3", got)
		}
		wantMark(t, c, far, "marked 6")
	})
}

// TestMarkBehindWriter: a mark that is asked for while a writer stands in the socket is sent behind his bytes, by him,
// and its place is theirs to the byte.
func TestMarkBehindWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{Quirks: rfc2217.KeepGreeting}, willSGA+do44)
		far.room(4)
		written := make(chan int)
		go func() {
			n, _ := c.Write([]byte("12345\xff78"))
			written <- n
		}()
		synctest.Wait() // it stands in the socket
		for range 2 {   // the second finds the first under way
			if !c.Mark() {
				t.Fatal("no mark under way")
			}
		}
		synctest.Wait() // and nobody waits for it: who waits for a lock would keep this from returning
		far.room(0)
		if n := <-written; n != 8 {
			t.Errorf("%d bytes written, want 8", n)
		}
		synctest.Wait()
		if got, want := verbs(far.taken()), "\"12345\xff78\", DO TIMING-MARK"; got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
		far.send(t, markWont)
		if got := next(t, c); got != "marked 8" {
			t.Errorf("got %q, want marked 8", got)
		}
	})
}

// TestMarkAfterTheEnd: behind FIN, and behind Close, no mark can come.
func TestMarkAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(*rfc2217.Client) error{"CloseWrite": (*rfc2217.Client).CloseWrite, "Close": (*rfc2217.Client).Close} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := session(t, rfc2217.Config{Log: slog.New(slog.DiscardHandler)}, willSGA+do44)
				if !c.Mark() {
					t.Fatal("no mark under way")
				}
				if err := end(c); err != nil {
					t.Fatal(err)
				}
				if c.Mark() {
					t.Error("a mark is under way")
				}
			})
		})
	}
}
