package rfc2217_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
)

const (
	doMark  = "fffd06"
	twice44 = "WILL COM-PORT, DO COM-PORT, DO TIMING-MARK"
)

// TestOpen: what the opening sends to each kind of peer, and what it concludes.
func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first string        // what the peer sends before it has read anything
		after []string      // what it sends then, each after we have sent everything
		wait  time.Duration // before each of after
		eof   bool
		deaf  bool // it has closed both directions: our writes fail
		sent  string
		err   string // "": the session is up
	}{
		{name: "ser2net", first: willSGA + "fffd03" + "fffb01fffe01" + "fffd00fffb00" + do44,
			sent: "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DONT ECHO, DO TIMING-MARK"},
		{name: "DO 44 and nothing else", after: []string{do44}, sent: "WILL COM-PORT"},
		{name: "WILL 44 alone is agreement too", after: []string{willSGA + will44},
			sent: "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DO COM-PORT, DO TIMING-MARK"},
		{name: "banner first", first: "68656c6c6f0d0a", after: []string{do44}, sent: "WILL COM-PORT"},
		{name: "leaves our WILL unanswered: DO is tried once", first: willSGA, after: []string{will44}, wait: 1100 * time.Millisecond,
			sent: "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DO COM-PORT, DO TIMING-MARK"},
		{name: "refused", first: willSGA, after: []string{dont44}, sent: "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA",
			err: "COM-PORT-OPTION refused"},
		{name: "Telnet, and no word of 44", first: willSGA, sent: "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DO COM-PORT",
			err: "COM-PORT-OPTION refused"},
		{name: "silent", sent: "WILL COM-PORT", err: "silent"},
		{name: "raw port that talks", first: "30302e30206b670d0a", sent: "WILL COM-PORT", err: `not Telnet: "00.0 kg\r\n"`},
		{name: "raw port that never stops", first: strings.Repeat("31", 20000), sent: "WILL COM-PORT", err: `not Telnet: "` + strings.Repeat("1", 64) + `"`},
		{name: "plug that echoes", after: []string{will44, do44, doMark}, sent: twice44, err: "it echoes what it gets"},
		{name: "WILL 44 unasked, then DO 44 alone", first: will44, after: []string{do44, markWont}, sent: twice44},
		{name: "the same, and a mark is a WILL to it", first: will44, after: []string{do44, "fffb06"}, sent: twice44},
		{name: "the same, and a mark is nothing to it", first: will44, after: []string{do44}, sent: twice44},
		{name: "the same, and it serves us at once", first: will44, after: []string{do44, "fffa2c6b30fff0"}, sent: twice44},
		{name: "the same, and it asks for a mark", first: will44, after: []string{do44, doMark + markWont}, sent: twice44},
		{name: "WILL 44 unasked, and it leaves our DO unanswered", first: will44, sent: twice44},
		{name: "device that cannot be opened, reported after the agreement", first: willSGA + do44 + "6e6f20646576696365", eof: true,
			sent: "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DO TIMING-MARK",
			err:  `closed by the peer as soon as COM-PORT-OPTION was agreed; it sent "no device"`},
		{name: "in use, after a greeting", first: willSGA + do44 + "68656c6c6f0d0a506f727420616c726561647920696e207573650d0a", eof: true,
			sent: "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DO TIMING-MARK", err: "port already in use"},
		{name: "in use, without a negotiation", first: "506f727420616c726561647920696e2075736520627920310d0a", eof: true, sent: "WILL COM-PORT",
			err: "port already in use"},
		{name: "in use, after one", first: willSGA + do44 + "506f727420616c726561647920696e207573650d0a", eof: true,
			sent: "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DO TIMING-MARK", err: "port already in use"},
		{name: "in use, in pieces", first: willSGA + do44, after: []string{"506f727420616c", "726561647920696e2075736520"},
			sent: "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DO TIMING-MARK", err: "port already in use"},
		{name: "in use, and closed: nothing can be sent", first: willSGA + do44 + "506f727420616c726561647920696e207573650d0a", eof: true, deaf: true,
			err: "port already in use"},
		{name: "closed as soon as it has agreed", first: willSGA + do44, eof: true,
			sent: "WILL COM-PORT, DO SGA, WILL BINARY, DO BINARY, WILL SGA, DO TIMING-MARK",
			err:  "closed by the peer as soon as COM-PORT-OPTION was agreed: EOF"},
		{name: "web server that is half-closed", first: "485454502f312e31", eof: true, sent: "WILL COM-PORT", err: `not Telnet: "HTTP/1.1"`},
		{name: "closed at once", eof: true, sent: "WILL COM-PORT", err: "closed by the peer before COM-PORT-OPTION was agreed: EOF"},
		{name: "a subnegotiation that is too long, first", first: "fffa2c" + strings.Repeat("00", 3000) + "fff0" + do44, sent: "WILL COM-PORT"},
		{name: "subnegotiation without an end", first: "fffa2c" + strings.Repeat("00", 1<<20+1), sent: "WILL COM-PORT",
			err: "protocol broken by the peer: a subnegotiation of more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				far.send(t, tt.first)
				if tt.eof {
					far.out.mu.Lock()
					far.out.closed = true
					far.out.mu.Unlock()
				}
				if tt.deaf {
					far.in.mu.Lock()
					far.in.closed = true
					far.in.mu.Unlock()
				}
				go func() {
					for _, s := range tt.after {
						time.Sleep(max(tt.wait, time.Millisecond))
						_, _ = far.Write(unhex(t, s))
					}
				}()
				c, err := rfc2217.Open(t.Context(), conn, rfc2217.Config{Log: slog.New(slog.DiscardHandler)})
				if got := text(err); got != tt.err {
					t.Errorf("error: got %q, want %q", got, tt.err)
				}
				synctest.Wait()
				if got := verbs(far.taken()); got != tt.sent {
					t.Errorf("sent %q, want %q", got, tt.sent)
				}
				if err == nil {
					_ = c.Close()
				}
				_ = conn.Close()
			})
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestOpenCancelled: an opening ends with its context, at once.
func TestOpenCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := wirePair()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := rfc2217.Open(ctx, conn, rfc2217.Config{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 100*time.Millisecond {
			t.Errorf("got %v after %v, want the context's error after 100ms", err, time.Since(began))
		}
		_ = conn.Close()
	})
}

// talk has the peer send this every 2 s until done is closed.
func talk(t *testing.T, far *end, says string, done chan struct{}) {
	again := time.NewTicker(2 * time.Second)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			_, _ = far.Write(unhex(t, says))
		case <-done:
			return
		}
	}
}

// TestOpenEnds: an opening ends with its context, and within 10 s, even if the peer reads nothing or negotiates for ever. One
// that succeeds leaves no deadline.
func TestOpenEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first string
		room  int           // how many bytes the peer takes
		again string        // what it sends every 2 s
		after time.Duration // when the context ends; 0: never
		want  error
		takes time.Duration
	}{
		{"takes nothing", "", 1, "", 0, rfc2217.ErrEndless, 10 * time.Second},
		{"takes nothing, and the context ends", "", 1, "", 3 * time.Second, context.DeadlineExceeded, 3 * time.Second},
		{"takes the beginning, and says much", willSGA, 4, "ff", 0, rfc2217.ErrEndless, 10 * time.Second},
		{"talks, and does not agree", willSGA, 0, "78", 0, rfc2217.ErrEndless, 10 * time.Second},
		{"a NOP each 2 s", "", 0, "fff1", 0, rfc2217.ErrEndless, 10 * time.Second},
		{"a verb each 2 s", "", 0, "fffb63", 0, rfc2217.ErrEndless, 10 * time.Second},
		{"a notice each 2 s", "", 0, "fffa2c6b10fff0", 0, rfc2217.ErrEndless, 10 * time.Second},
		{"a signature each 2 s", "", 0, "fffa2c6441fff0", 0, rfc2217.ErrEndless, 10 * time.Second},
		{"half a subnegotiation each 2 s", "fffa2c64", 0, "41", 0, rfc2217.ErrSilent, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				far.room(tt.room)
				far.send(t, tt.first)
				done := make(chan struct{})
				go talk(t, far, tt.again, done)
				ctx := t.Context()
				if tt.after > 0 {
					limited, cancel := context.WithTimeout(ctx, tt.after)
					defer cancel()
					ctx = limited
				}
				began := time.Now()
				_, err := rfc2217.Open(ctx, conn, rfc2217.Config{Log: slog.New(slog.DiscardHandler)})
				if took := time.Since(began); !errors.Is(err, tt.want) || took != tt.takes {
					t.Errorf("got %v after %v, want %v after %v", err, took, tt.want, tt.takes)
				}
				_ = conn.Close()
				close(done)
			})
		})
	}
	t.Run("and leaves no deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, far := session(t, rfc2217.Config{}, do44)
			time.AfterFunc(time.Hour, func() { far.send(t, "78") })
			if got := next(t, c); got != "data x" {
				t.Errorf("got %q, want the data", got)
			}
			if _, err := c.Write([]byte("y")); err != nil {
				t.Error(err)
			}
		})
	})
}
