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
			t.Errorf("sent %q, want %q: one mark, after the data", got, want)
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

// TestOpeningsMark: the session begins when the opening's mark is answered, or soon after the server begins to serve. Nothing
// that comes meanwhile is lost or reordered. A late answer does not count for a later mark.
func TestOpeningsMark(t *testing.T) {
	const modem = "fffa2c6b30fff0"
	for _, tt := range []struct {
		name  string
		after string        // what comes after the agreement
		takes time.Duration // how long the opening takes then
		next  []string
	}{
		{"answered", markWont + "78", 0, []string{"data x"}},
		{"answered, after other verbs", "fffd00" + markWont + modem, 0, []string{"modem CTS|DSR"}},
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

// wantMark requests a mark and checks that its answer is reported.
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

// TestNoMark: a server that has negotiated COM-PORT-OPTION alone gets no mark: it might pass the request on to its UART.
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

// TestPeerMark: each mark that the server requests is answered once.
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
			t.Errorf("sent %q, want %q", got, want)
		}
	})
}

// TestFirstMarkLater: a server that speaks of other options only after the agreement is sent a first mark then, and others when
// that is answered: so it is known whether it answers marks before anyone waits for one.
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
				if sent := verbs(far.taken()); !strings.HasSuffix(sent, ", DO TIMING-MARK") || strings.Count(sent, "TIMING-MARK") != 1 {
					t.Errorf("sent %q, want one mark at its end", sent)
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

// TestFirstMarkOverdue: while the answer to the first mark may still come, another mark is sent after it. When it is overdue
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

// TestMarkAnsweredLate: the answer to a mark counts whenever it comes, and so does the next one.
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

// TestMarkAfterWriter: a mark that is requested while a writer is blocked in the socket is sent by that writer after its bytes,
// and its position is their exact number.
func TestMarkAfterWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{Quirks: rfc2217.KeepGreeting}, willSGA+do44)
		far.room(4)
		written := make(chan int)
		go func() {
			n, _ := c.Write([]byte("12345\xff78"))
			written <- n
		}()
		synctest.Wait() // it is blocked in the socket
		for range 2 {   // the second finds the first under way
			if !c.Mark() {
				t.Fatal("no mark under way")
			}
		}
		synctest.Wait() // nobody waits for it: a goroutine that waited for a lock would keep this from returning
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

// TestMarkAfterTheEnd: after FIN and after Close there is no mark.
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
