package rfc2217_test

import (
	"bytes"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/uart"
)

// TestAnswerUnread: an answer that came in time counts, even if it was read late because the application took nothing.
func TestAnswerUnread(t *testing.T) {
	const timeout = 3 * time.Second
	for _, tt := range []struct {
		name, says string
		want       []string
	}{
		{"the answers", saysAsked + "78", []string{"data x"}},
		{"after data", "79" + saysAsked + "78", []string{"data y", "data x"}},
		{"another value", saysBaud(1200) + saysAsked[20:] + "78", []string{"data x", "refused 9600 (answer 1200)"}},
		{"no answer", "78", []string{"data x", "refused 9600 8N1 none (no answer)"}},
		{"nothing at all", "", []string{"refused 9600 8N1 none (no answer)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := session(t, rfc2217.Config{AckTimeout: timeout}, do44)
				if err := c.Apply(wholeState()); err != nil {
					t.Fatal(err)
				}
				if tt.says != "" {
					far.send(t, tt.says)
				}
				time.Sleep(time.Minute) // the application does not read
				for _, want := range append(tt.want, "data end") {
					if want == "data end" {
						time.AfterFunc(time.Hour, func() { _, _ = far.Write([]byte("end")) })
					}
					if got := next(t, c); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				}
			})
		})
	}
}

// TestAnswerUnreadOverTCP: the same over a TCP socket.
func TestAnswerUnreadOverTCP(t *testing.T) {
	const timeout = 200 * time.Millisecond
	conn, far := tcpPair(t)
	if _, err := far.Write(unhex(t, do44)); err != nil {
		t.Fatal(err)
	}
	c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{AckTimeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Apply(wholeState()); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write(unhex(t, saysAsked+"78")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * timeout) // the application does not read
	if got := next(t, c); got != "data x" {
		t.Errorf("got %q, want the data after the answers", got)
	}
}

// tcpPair is a connection on loopback.
func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return near, far
}

// TestNoAnswerInAFlood: if a server never stops sending and does not answer, that is still reported.
func TestNoAnswerInAFlood(t *testing.T) {
	const timeout = 3 * time.Second
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{AckTimeout: timeout}, do44)
		began := time.Now()
		if err := c.Apply(wholeState()); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		defer close(done)
		go func() {
			again := time.NewTicker(time.Millisecond)
			defer again.Stop()
			for {
				select {
				case <-again.C:
					_, _ = far.Write([]byte("flood"))
				case <-done:
					return
				}
			}
		}()
		for {
			got := next(t, c)
			if strings.HasPrefix(got, "data") {
				if took := time.Since(began); took > 3*timeout {
					t.Fatalf("nothing was reported in %v", took)
				}
				continue
			}
			if want := "refused 9600 8N1 none (no answer)"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if took := time.Since(began); took < timeout || took > 2*timeout+100*time.Millisecond {
				t.Errorf("reported after %v, want from %v to %v", took, timeout, 2*timeout)
			}
			return
		}
	})
}

// counting counts how often its read deadline is set.
type counting struct {
	*end
	sets atomic.Int64
}

func (c *counting) SetReadDeadline(t time.Time) error {
	c.sets.Add(1)
	return c.end.SetReadDeadline(t)
}

// TestAlarmsAreCheap: an alarm later than the earliest sets no deadline.
func TestAlarmsAreCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := wirePair()
		conn := &counting{end: near}
		far.send(t, do44)
		c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if err := c.Apply(wholeState()); err != nil {
			t.Fatal(err)
		}
		before := conn.sets.Load()
		for range 100 {
			time.Sleep(time.Millisecond)
			if err := c.Apply(uart.Event{Kind: uart.KindSettings, Control: uart.Control{DTR: uart.LevelOn}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := conn.sets.Load() - before; got != 0 {
			t.Errorf("100 more settings set the deadline %d times, want 0", got)
		}
		far.send(t, saysAsked+"fffa2c6908fff0")
		time.AfterFunc(time.Hour, func() { _, _ = far.Write(bytes.Repeat([]byte("x"), 3)) })
		if got := next(t, c); got != "data xxx" {
			t.Errorf("got %q, want the data", got)
		}
		if got := conn.sets.Load() - before; got > 3 {
			t.Errorf("and all of them answered, %d times; want 3 at most", got)
		}
	})
}
