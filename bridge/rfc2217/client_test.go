package rfc2217_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

const (
	will44   = "fffb2c"
	do44     = "fffd2c"
	dont44   = "fffe2c"
	willSGA  = "fffb03"
	binary   = "fffb00fffd00"
	markWont = "fffc06"
	saysMask = "fffa2c6e00fff0" // the answer to SET-LINESTATE-MASK
)

// session is a client whose session is up; the test plays the server.
func session(t *testing.T, cfg rfc2217.Config, hello string) (*rfc2217.Client, *end) {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	conn, far := wirePair()
	far.send(t, hello+markWont) // the opening requests a mark from a server that negotiates options
	c, err := rfc2217.Open(t.Context(), conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if !strings.HasPrefix(hello, willSGA) { // it knows no marks: this answer ends the holding
		far.send(t, saysMask)
	}
	synctest.Wait()
	far.taken()
	return c, far
}

// wholeState is the state that a port starts with.
func wholeState() uart.Event {
	return uart.Event{Kind: uart.KindSettings, Coding: uart.DefaultCoding(), Flow: uart.Flow{Out: uart.FlowNone, In: uart.FlowNone}}
}

// next returns the next event or data of the session as a word.
func next(t *testing.T, c *rfc2217.Client) string {
	t.Helper()
	p, e, err := c.Next()
	switch {
	case err != nil:
		return "error " + err.Error()
	case e.Kind == uart.KindData:
		return "data " + string(p)
	}
	return e.String()
}

func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{LineMask: uart.LineErrors}, do44)
		for _, step := range []struct {
			e    uart.Event
			want string
		}{
			{wholeState(), "SB 0100002580, SB 0301, SB 0208, SB 0401, SB 0501, SB 0a1e"},
			{uart.Event{Kind: uart.KindSettings, Control: uart.Control{DTR: uart.LevelOn, RTS: uart.LevelOff}}, "SB 0508, SB 050c"},
			{uart.Event{Kind: uart.KindPurge, Purge: uart.PurgeTx}, "SB 0c02"},
			{uart.Event{Kind: uart.KindSettings}, ""},
		} {
			if err := c.Apply(step.e); err != nil {
				t.Fatal(err)
			}
			if got := verbs(far.taken()); got != step.want {
				t.Errorf("%v: sent %q, want %q", step.e, got, step.want)
			}
		}
	})
}

// TestAnswers: however a server answers, the session goes on, and what it did not accept is reported once.
func TestAnswers(t *testing.T) {
	all := "fffa2c6500002580fff0" + "fffa2c6701fff0" + "fffa2c6608fff0" + "fffa2c6801fff0" + "fffa2c6901fff0"
	for _, tt := range []struct {
		name, answers string
		want          []string
	}{
		{"each as asked", all, nil},
		{"in another order, twice, and late ones of before", "fffa2c6901fff0" + "fffa2c65000004b0fff0" + all + all, nil},
		{"none", "", []string{"refused 9600 8N1 none (no answer)"}},
		{"some", "fffa2c6500002580fff0" + "fffa2c6608fff0", []string{"refused ?N1 none (no answer)"}},
		{"another baud rate", strings.ReplaceAll(all, "00002580", "000004b0"), []string{"refused 9600 (answer 1200)"}},
		{"all wrong", "fffa2c65000004b0fff0" + "fffa2c6702fff0" + "fffa2c6607fff0" + "fffa2c6802fff0" + "fffa2c6903fff0",
			[]string{"refused 9600 (answer 1200)", "refused 8?? (answer 7 data bits)", "refused ?N? (answer parity O)",
				"refused ??1 (answer 2 stop bits)", "refused none (answer rtscts)"}},
		{"flow control answered, then answered with another line's: sredird", all + "fffa2c6903fff0", nil},
		{"baud of eight bytes: sredird", strings.ReplaceAll(all, "00002580", "0000258000000000"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := session(t, rfc2217.Config{AckTimeout: 3 * time.Second}, do44)
				if err := c.Apply(wholeState()); err != nil {
					t.Fatal(err)
				}
				far.send(t, tt.answers)
				var got []string
				for range tt.want {
					got = append(got, next(t, c))
				}
				// Whatever was answered, data flows, and nothing else is reported, not even when the time is up again.
				if err := c.Apply(uart.Event{Kind: uart.KindSettings, Coding: uart.Coding{Baud: 9600}}); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(tt.answers, "04b0") {
					time.AfterFunc(10*time.Second, func() { _, _ = far.Write([]byte("end")) })
					if tt.answers != "" {
						far.send(t, "fffa2c6500002580fff0")
					}
					got = append(got, next(t, c))
					tt.want = append(tt.want, "data end")
				}
				if strings.Join(got, "; ") != strings.Join(tt.want, "; ") {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestEvents(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		cfg      rfc2217.Config
		want     []string
	}{
		{"modem state, each once", "fffa2c6bbbfff0 fffa2c6bb0fff0 fffa2c6b31fff0", rfc2217.Config{}, []string{"modem CTS|DSR|DCD", "modem CTS|DSR"}},
		{"line state at its byte", "61 fffa2c6a04fff0 62", rfc2217.Config{}, []string{"data a", "line parity", "data b"}},
		{"suspend and resume", "fffa2c6cfff0 fffa2c6dfff0", rfc2217.Config{}, []string{"suspended", "resumed"}},
		{"suspend ignored", "fffa2c6cfff0 fffa2c6dfff0 61", rfc2217.Config{Quirks: rfc2217.SuspendIgnore}, []string{"data a"}},
		{"several in one", "fffa2c6c6b00fff0", rfc2217.Config{}, []string{"suspended", "modem none"}},
		{"a value that is missing, a private code", "fffa2c65fff0 fffa2c97fff0 fffa2c3301fff0 61", rfc2217.Config{}, []string{"data a"}},
		{"another option's subnegotiation", "fffa1801fff0 61", rfc2217.Config{}, []string{"data a"}},
		{"CR NUL is data", "0d00", rfc2217.Config{}, []string{"data \r\x00"}},
		{"255 that is not doubled", "ff61 ff", rfc2217.Config{Quirks: rfc2217.SingleFF}, []string{"data \xffa"}},
		{"COM-PORT-OPTION given up", dont44, rfc2217.Config{}, []string{"error protocol broken by the peer: it gave up COM-PORT-OPTION"}},
		{"a signature of nearly 1 MiB", "61 fffa2c64" + strings.Repeat("61", 1<<20-1) + "fff0 62", rfc2217.Config{}, []string{"data a", "data b"}},
		{"a command begins in a long subnegotiation", "fffa2c64" + strings.Repeat("61", 2000) + "fffa2c6b30fff0 62", rfc2217.Config{},
			[]string{"modem CTS|DSR", "data b"}},
		{"endless subnegotiation", "fffa2c" + strings.Repeat("61", 1<<20+1), rfc2217.Config{},
			[]string{"error protocol broken by the peer: a subnegotiation of more than 1048576 bytes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := session(t, tt.cfg, do44)
				far.send(t, tt.in)
				for _, want := range tt.want {
					if got := next(t, c); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				}
			})
		})
	}
}

func TestSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, do44)
		far.send(t, "fffa2c64fff0 fffa2c6461fff0 78")
		if got := next(t, c); got != "data x" {
			t.Errorf("got %q, want the data", got)
		}
		synctest.Wait()
		if got, want := verbs(far.taken()), "SB 0074656c6e6574637063"; got != want {
			t.Errorf("sent %q, want %q: our name, only as an answer", got, want)
		}
	})
}

// TestAsksMoreThanItReads: a peer that does not read its answers is disconnected before they take much memory, and the reader
// does not wait for it.
func TestAsksMoreThanItReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, willSGA+do44)
		far.in.mu.Lock()
		far.in.full = 1
		far.in.mu.Unlock()
		far.send(t, strings.Repeat("fffb63fffc63", 3000))
		_, _, err := c.Next()
		if !errors.Is(err, rfc2217.ErrProtocol) {
			t.Errorf("got %v, want ErrProtocol", err)
		}
	})
}

// TestWriteCounts: if the session ends in a write, the bytes that were given to TCP are counted; half a doubled 255 is not.
func TestWriteCounts(t *testing.T) {
	for room, want := range map[int]int{1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4} {
		synctest.Test(t, func(t *testing.T) {
			c, far := session(t, rfc2217.Config{}, do44)
			far.in.mu.Lock()
			far.in.full = room
			far.in.mu.Unlock()
			time.AfterFunc(time.Second, func() { _ = c.Close() })
			if n, err := c.Write([]byte("a\xff\xffbcd")); n != want || err == nil {
				t.Errorf("room for %d: got %d, %v; want %d and an error", room, n, err, want)
			}
		})
	}
}

// TestPlainTelnet: without COM-PORT-OPTION, and until BINARY is agreed, data is an NVT's. A server may agree after the opening.
func TestPlainTelnet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, far := wirePair()
		c, err := rfc2217.OpenTelnet(t.Context(), conn, rfc2217.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got, want := verbs(far.taken()), "WILL BINARY, DO BINARY, WILL SGA, DO SGA"; got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
		write := func(want string) {
			t.Helper()
			if _, err := c.Write([]byte("a\rb\xff")); err != nil {
				t.Fatal(err)
			}
			if got := far.taken(); !bytes.Equal(got, []byte(want)) {
				t.Errorf("sent %q, want %q", got, want)
			}
		}
		write("a\r\x00b\xff\xff")
		far.send(t, "610d0062"+dont44+binary)
		for _, want := range []string{"data a\rb"} {
			if got := next(t, c); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		far.send(t, "0d00")
		if got := next(t, c); got != "data \r\x00" {
			t.Errorf("got %q, want CR NUL as data once BINARY is on", got)
		}
		synctest.Wait()
		far.taken()
		write("a\rb\xff\xff")
		if err := c.Apply(wholeState()); err != nil || len(far.taken()) > 0 {
			t.Errorf("a setting was sent, or failed: %v", err)
		}
		if f := c.Fidelity(); f != 0 {
			t.Errorf("fidelity %v, want nothing", f)
		}
	})
}

// TestWriteAllocates: the data path allocates nothing in either direction.
func TestWriteAllocates(t *testing.T) {
	conn := &sink{in: bytes.Repeat([]byte("data \xff\xff"), 500)}
	c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := bytes.Repeat([]byte("some data \xff"), 300)
	n := testing.AllocsPerRun(100, func() {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 && !testenv.Race {
		t.Errorf("%v allocations for a write and a read, want none", n)
	}
}
