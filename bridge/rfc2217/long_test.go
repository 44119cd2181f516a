package rfc2217_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
)

// TestTooLong: subnegotiations that are too long are logged once, at either end, and the session goes on.
func TestTooLong(t *testing.T) {
	long := telnet.AppendSub(nil, telnet.ComPort, bytes.Repeat([]byte{0}, 3000))
	once := func(t *testing.T, log *bytes.Buffer) {
		t.Helper()
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "COM-PORT") || !strings.Contains(got, "3000") {
			t.Errorf("logged %q, want one line with the option and the length", got)
		}
	}
	t.Run("client", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			c, far := session(t, rfc2217.Config{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, do44)
			for range 10 {
				_, _ = far.Write(long)
			}
			far.send(t, "78")
			if got := next(t, c); got != "data x" {
				t.Errorf("got %q, want the data", got)
			}
			once(t, &log)
		})
	})
	t.Run("server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			near, far := wirePair()
			_, _ = far.Write(long) // in the opening too
			far.send(t, will44)
			cfg := rfc2217.ServerConfig{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
			s, err := rfc2217.Accept(t.Context(), near, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			_, _ = far.Write(long)
			far.send(t, "78")
			if p, _, err := s.Next(); string(p) != "x" {
				t.Errorf("got %q, %v, want the data", p, err)
			}
			once(t, &log)
		})
	})
}
