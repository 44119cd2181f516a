package rfc2217_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/uart"
)

// heard is one thing that Next has returned, and when, since the end of the opening.
type heard struct {
	at   time.Duration
	what string
}

func (h heard) String() string { return fmt.Sprintf("%v %.80q", h.at, h.what) }

// listen reads the session until its end, and then sends what it has returned.
func listen(t *testing.T, c *rfc2217.Client, began time.Time) chan []heard {
	t.Helper()
	all := make(chan []heard, 1)
	go func() { // ends with the session
		var list []heard
		for {
			word := next(t, c)
			list = append(list, heard{time.Since(began), word})
			if strings.HasPrefix(word, "error") {
				all <- list
				return
			}
		}
	}()
	return all
}

// move is what happens next: the server sends something (in hex), the application does something, or time passes.
type move struct {
	after time.Duration // since the move before
	says  string
	write string
	apply bool // the whole state is sent
	fin   bool // the server closes
}

const (
	hello   = "68656c6c6f0d0a" // a server's greeting
	modemUp = "fffa2c6bb0fff0"
	trip    = 100 * time.Millisecond // how long the server takes to agree
	look    = 20 * time.Millisecond  // the recheck for what may be unread
	waits   = 2 * trip               // how long the first byte waits for an answer
)

// TestGreeting: what a server sends before its first answer is dropped and reported, and nothing after that is lost; of a
// server that never answers nothing at all is.
func TestGreeting(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cfg   rfc2217.Config
		hello string // with the agreement; empty: DO 44 alone
		moves []move
		want  []heard
	}{
		{name: "dropped at the answer to a setting", moves: []move{{says: hello}, {apply: true}, {after: trip, says: saysAsked + "78"}},
			want: []heard{{trip, `greeting 7 "hello\r\n"`}, {trip, "data x"}}},
		{name: "before the agreement, too", hello: hello + do44, moves: []move{{apply: true}, {after: trip, says: saysAsked + "78"}},
			want: []heard{{trip, `greeting 7 "hello\r\n"`}, {trip, "data x"}}},
		{name: "in parts, and the answer torn", moves: []move{{apply: true}, {says: hello[:4]}, {after: trip / 2, says: hello[4:] + saysAsked[:7*2]},
			{after: trip / 2, says: saysAsked[7*2:] + "78"}},
			want: []heard{{trip, `greeting 7 "hello\r\n"`}, {trip, "data x"}}},
		{name: "an answer alone has nothing to drop", moves: []move{{apply: true}, {after: trip, says: saysAsked}, {says: "78"}},
			want: []heard{{trip, "data x"}}},
		{name: "dropped at the answer to the mask alone", moves: []move{{says: hello}, {apply: true}, {after: trip, says: saysMask + "78"}},
			want: []heard{{trip, `greeting 7 "hello\r\n"`}, {trip, "data x"}}},
		{name: "dropped at the answer to the opening's mark, which comes late", hello: willSGA + do44 + modemUp,
			moves: []move{{apply: true, says: hello}, {after: trip, says: markWont + "78"}},
			want:  []heard{{0, "modem CTS|DSR|DCD"}, {trip, `greeting 7 "hello\r\n"`}, {time.Second + look, "data x"}}},
		{name: "after the answer to the opening's mark, as ser2net over TLS does", hello: willSGA + do44 + modemUp + markWont,
			moves: []move{{apply: true, write: "?", says: hello}, {after: trip, says: saysAsked + "78"}},
			want:  []heard{{0, "modem CTS|DSR|DCD"}, {trip, `greeting 7 "hello\r\n"`}, {trip, "data x"}}},
		{name: "on both sides of the answer to the opening's mark", hello: willSGA + do44 + modemUp + hello + markWont,
			moves: []move{{apply: true, write: "?", says: hello}, {after: trip, says: saysAsked + "78"}},
			want:  []heard{{0, "modem CTS|DSR|DCD"}, {0, `greeting 7 "hello\r\n"`}, {trip, `greeting 7 "hello\r\n"`}, {trip, "data x"}}},
		{name: "the mark alone is answered: the device's first answer", hello: willSGA + do44 + markWont,
			moves: []move{{apply: true, write: "?"}, {after: waits, says: "78"}, {after: time.Second, says: "79"}},
			want:  []heard{{waits, "data x"}, {waits + time.Second, "data y"}}},
		{name: "events are not held", moves: []move{{says: hello + modemUp + "78" + "fffa2c6a04fff0"}, {apply: true, after: trip, says: saysAsked}},
			want: []heard{{0, "modem CTS|DSR|DCD"}, {0, "line parity"}, {trip, `greeting 8 "hello\r\nx"`}}},
		{name: "a setting in force that nobody asked for is no answer",
			moves: []move{{says: saysBaud(1200) + hello}, {after: 2 * time.Second, says: "78"}},
			want:  []heard{{time.Second + look, "data hello\r\n"}, {2 * time.Second, "data x"}}},
		{name: "a notice is no answer, nor is ser2net's to the mask of modem states", moves: []move{{says: hello}, {apply: true, says: modemUp},
			{after: 2 * time.Second, says: "78"}},
			want: []heard{{0, "modem CTS|DSR|DCD"}, {time.Second + look, "data hello\r\n"}, {2 * time.Second, "data x"}}},
		{name: "a mark that nobody asked for is no answer", moves: []move{{says: hello + markWont}, {after: 2 * time.Second, says: "78"}},
			want: []heard{{time.Second + look, "data hello\r\n"}, {2 * time.Second, "data x"}}},

		{name: "nothing is answered: the device's first answer", moves: []move{{apply: true, write: "?"}, {after: waits, says: "78"}, {after: time.Second, says: "79"}},
			want: []heard{{waits, "data x"}, {waits + time.Second, "data y"}}},
		{name: "nothing is answered: the program writes late", moves: []move{{apply: true, says: hello}, {after: 5 * trip, write: "?"}, {after: trip, says: "78"}},
			want: []heard{{5 * trip, "data hello\r\n"}, {6 * trip, "data x"}}},
		{name: "nothing is answered, and the program writes nothing: a scanner", moves: []move{{apply: true}, {after: 3 * trip, says: "31"}, {after: trip, says: "32"},
			{after: time.Second, says: "33"}},
			want: []heard{{time.Second + look, "data 12"}, {4*trip + time.Second, "data 3"}}},
		{name: "an answer in the last moment", moves: []move{{apply: true, says: hello, write: "?"}, {after: trip, says: saysAsked + "78"}},
			want: []heard{{trip, `greeting 7 "hello\r\n"`}, {trip, "data x"}}},
		{name: "an answer that comes too late drops nothing", moves: []move{{apply: true, write: "?"}, {after: waits, says: "78"}, {after: trip, says: saysAsked + "79"}},
			want: []heard{{waits, "data x"}, {waits + trip, "data y"}}},
		{name: "the answer to a mark that was requested after the first byte drops nothing", moves: []move{{apply: true, write: "?"},
			{after: waits, says: willSGA}, {after: trip, says: "78"}, {after: trip, says: markWont + "79"}},
			want: []heard{{waits + trip, "data x"}, {waits + 2*trip, "data y"}}},
		{name: "the second byte that is written changes nothing", moves: []move{{apply: true, write: "?"}, {after: waits, write: "?"}, {after: trip, says: "78"}},
			want: []heard{{waits + trip, "data x"}}},

		{name: "the port is in use, in pieces", moves: []move{{apply: true, says: "506f727420616c"}, {says: "726561647920696e2075736520"}},
			want: []heard{{0, "error port already in use"}}},
		{name: "closed after a text: the device cannot be opened", moves: []move{{apply: true, says: "6e6f20646576696365"}, {after: trip, fin: true}},
			want: []heard{{trip, `greeting 9 "no device"`}, {trip, "error EOF"}}},
		{name: "closed after a text: another client may have the port", moves: []move{{apply: true, says: hex.EncodeToString([]byte("line busy"))}, {after: trip, fin: true}},
			want: []heard{{trip, `greeting 9 "line busy"`}, {trip, `error port already in use: it sent "line busy"`}}},
		{name: "closed after a device's text", moves: []move{{apply: true, says: hex.EncodeToString([]byte("BusyBox v1"))}, {after: trip, fin: true}},
			want: []heard{{trip, `greeting 10 "BusyBox v1"`}, {trip, "error EOF"}}},
		{name: "closed after a long text: busy is not its beginning", moves: []move{{apply: true, says: strings.Repeat("20", 300) + hex.EncodeToString([]byte("busy"))}, {after: trip, fin: true}},
			want: []heard{{trip, `greeting 304 "` + strings.Repeat(" ", 64) + `"`}, {trip, "error EOF"}}},
		{name: "a protocol error after a text is reported as one", moves: []move{{apply: true, says: hex.EncodeToString([]byte("line busy"))}, {after: trip, says: dont44}},
			want: []heard{{trip, `greeting 9 "line busy"`}, {trip, "error protocol broken by the peer: it gave up COM-PORT-OPTION"}}},
		{name: "closed after the device's answer, at a server that answers nothing", moves: []move{{apply: true, write: "?"}, {after: waits, says: "78"}, {fin: true}},
			want: []heard{{waits, "data x"}, {waits, "error EOF"}}},

		{name: "kept", cfg: rfc2217.Config{Quirks: rfc2217.KeepGreeting}, hello: "61" + do44, moves: []move{{says: hello}, {apply: true}, {after: trip, says: saysAsked + "78"}},
			want: []heard{{0, "data a"}, {0, "data hello\r\n"}, {trip, "data x"}}},
		{name: "more than 64 KiB is a device's", moves: []move{{says: strings.Repeat("61", 64<<10)}, {after: trip, says: "62"}, {apply: true, says: saysAsked}},
			want: []heard{{trip, fmt.Sprintf("data %.70000s", strings.Repeat("a", 64<<10)+"b")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				first := tt.hello
				if first == "" {
					first = do44
				}
				time.AfterFunc(trip, func() { _, _ = far.Write(unhex(t, first)) })
				tt.cfg.AckTimeout = 24 * time.Hour // unconfirmed settings do not matter here
				c, err := rfc2217.Open(t.Context(), conn, tt.cfg)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				all := listen(t, c, began)
				play(t, c, far, tt.moves)
				time.Sleep(time.Hour)
				_ = c.Close()
				got := <-all
				if n := len(got) - 1; got[n].at >= time.Hour { // Close's
					got = got[:n]
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

// play makes the moves, each after everything that follows from the one before.
func play(t *testing.T, c *rfc2217.Client, far *end, moves []move) {
	t.Helper()
	for _, m := range moves {
		time.Sleep(m.after)
		if m.apply {
			if err := c.Apply(wholeState()); err != nil {
				t.Fatal(err)
			}
		}
		if m.write != "" {
			go func() { // ends with the first answer, or when the time for it is up
				if _, err := c.Write([]byte(m.write)); err != nil {
					t.Errorf("write: %v", err)
				}
			}()
			synctest.Wait()
		}
		if m.says != "" {
			far.send(t, m.says)
		}
		if m.fin {
			_ = far.CloseWrite()
		}
		synctest.Wait()
	}
}

// TestGreetingUnread: if the application does not read for long, the session is not read either. What came in time is still
// judged by what came after it.
func TestGreetingUnread(t *testing.T) {
	for _, tt := range []struct {
		name  string
		moves []move
		want  []string
	}{
		{"an answer after it", []move{{apply: true, says: hello + saysAsked + "78"}}, []string{`greeting 7 "hello\r\n"`, "data x"}},
		{"no answer", []move{{apply: true, says: hello}}, []string{"data hello\r\n"}},
		{"nothing", []move{{apply: true, write: "?"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				conn.in.cuts = slices.Repeat([]int{3}, 40) // a read returns a part of what has arrived
				far.send(t, do44)
				c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				play(t, c, far, tt.moves)
				time.Sleep(time.Hour) // the application does not read
				time.AfterFunc(time.Hour, func() { _, _ = far.Write([]byte("end")) })
				for _, want := range append(tt.want, "refused 9600 8N1 none (no answer)", "data end") {
					if strings.HasPrefix(want, "refused") && len(tt.want) == 2 {
						continue // it was answered
					}
					if got := next(t, c); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				}
			})
		})
	}
}

// TestGreetingEndless: data of a device that never pauses, at a server that answers nothing, is not held longer.
func TestGreetingEndless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, far := wirePair()
		far.send(t, do44)
		c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		stop := time.AfterFunc(time.Minute, func() { _ = c.Close() })
		talks := make(chan struct{})
		go func() { // ends with the session
			defer close(talks)
			for {
				if _, err := far.Write([]byte(".")); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		got := next(t, c)
		if took := time.Since(began); !strings.HasPrefix(got, "data ....") || took > time.Second+2*look {
			t.Errorf("got %.20q after %v, want the data within %v", got, took, time.Second+2*look)
		}
		stop.Stop()
		_ = c.Close()
		<-talks
	})
}

// TestGreetingOurEnd: bytes that are held when our side closes are returned, for the port to count: nobody reads it any more.
func TestGreetingOurEnd(t *testing.T) {
	conn, far := tcpPair(t)
	if _, err := far.Write(unhex(t, do44+modemUp+hello)); err != nil {
		t.Fatal(err)
	}
	c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := next(t, c); got != "modem CTS|DSR|DCD" {
		t.Errorf("got %q, want the modem state", got)
	}
	if _, err := far.Write(unhex(t, "fffa2c6b10fff0")); err != nil { // after the greeting, which is held when this is read
		t.Fatal(err)
	}
	if got := next(t, c); got != "modem CTS" {
		t.Errorf("got %q, want the modem state", got)
	}
	_ = c.Close()
	_, e, err := c.Next()
	if err != nil || e.Kind != uart.KindData {
		t.Errorf("got %v, %v; want what was held as data", e, err)
	}
}

// TestGreetingSlowMark: a loaded server may answer the mark more slowly than it has agreed. A program that writes at once does
// not get the greeting all the same.
func TestGreetingSlowMark(t *testing.T) {
	for _, stall := range []time.Duration{0, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 90 * time.Millisecond} {
		t.Run(stall.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				time.AfterFunc(time.Millisecond, func() {
					_, _ = far.Write(unhex(t, willSGA+do44+modemUp+hello))
					time.Sleep(time.Millisecond + stall)
					_, _ = far.Write(unhex(t, markWont+"78"))
				})
				c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{AckTimeout: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				if err := c.Apply(wholeState()); err != nil {
					t.Fatal(err)
				}
				go func() { _, _ = c.Write([]byte("?")) }() // ends with the mark's answer
				got := map[string]bool{}
				for !got["data x"] && len(got) < 4 {
					got[next(t, c)] = true
				}
				if !got[`greeting 7 "hello\r\n"`] || !got["data x"] {
					t.Errorf("got %v, want the greeting, dropped, and the data after it", got)
				}
			})
		})
	}
}

// TestFirstByteWaits: the first byte of a session waits until the server has answered the state of the port, or would have: the
// device's answer to it is never taken for the server's greeting.
func TestFirstByteWaits(t *testing.T) {
	for _, tt := range []struct {
		name    string
		cfg     rfc2217.Config
		answers time.Duration // 0: never
		first   time.Duration // when the first byte is written, after the state
		want    time.Duration // when it goes out
	}{
		{"the answer comes", rfc2217.Config{}, trip, 0, trip},
		{"it comes late", rfc2217.Config{}, 3 * trip, 0, waits},
		{"none comes", rfc2217.Config{}, 0, 0, waits},
		{"none comes, and it is written later", rfc2217.Config{}, 0, 5 * trip, 5 * trip},
		{"the greeting is kept", rfc2217.Config{Quirks: rfc2217.KeepGreeting}, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				time.AfterFunc(trip, func() { _, _ = far.Write(unhex(t, do44)) })
				tt.cfg.AckTimeout = time.Hour
				c, err := rfc2217.Open(t.Context(), conn, tt.cfg)
				if err != nil {
					t.Fatal(err)
				}
				all := listen(t, c, time.Now())
				if err := c.Apply(wholeState()); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if tt.answers > 0 {
					time.AfterFunc(tt.answers, func() { _, _ = far.Write(unhex(t, saysAsked)) })
				}
				time.Sleep(tt.first)
				if _, err := c.Write([]byte("?")); err != nil {
					t.Fatal(err)
				}
				if got := time.Since(began); got != tt.want {
					t.Errorf("it went out after %v, want %v", got, tt.want)
				}
				began = time.Now()
				if _, err := c.Write([]byte("!")); err != nil || time.Since(began) > 0 {
					t.Errorf("the second took %v, %v", time.Since(began), err)
				}
				_ = c.Close()
				<-all
			})
		})
	}
	t.Run("a flood ends the wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, far := wirePair()
			time.AfterFunc(trip, func() { _, _ = far.Write(unhex(t, do44)) })
			c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{AckTimeout: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			all := listen(t, c, time.Now())
			began := time.Now()
			time.AfterFunc(trip/2, func() { _, _ = far.Write(bytes.Repeat([]byte("x"), 64<<10+1)) })
			if _, err := c.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(began); got != trip/2 {
				t.Errorf("it went out after %v, want %v", got, trip/2)
			}
			synctest.Wait()
			_ = c.Close()
			if got := <-all; len(got) != 2 || got[0].what != "data "+strings.Repeat("x", 64<<10+1) {
				t.Errorf("got %s, want all of the flood as data", got)
			}
		})
	})
	for name, end := range map[string]func(*rfc2217.Client) error{"Close": (*rfc2217.Client).Close, "CloseWrite": (*rfc2217.Client).CloseWrite} {
		t.Run(name+" ends the wait", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				time.AfterFunc(trip, func() { _, _ = far.Write(unhex(t, do44)) })
				c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				time.AfterFunc(trip/2, func() { _ = end(c) })
				if n, err := c.Write([]byte("?")); n != 0 || err == nil {
					t.Errorf("got %d, %v; want nothing written and an error", n, err)
				}
				if got := time.Since(began); got != trip/2 {
					t.Errorf("it took %v", got)
				}
				_ = c.Close()
			})
		})
	}
}
