package accessserver_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
)

// Whatever connects, the log has at most ten lines a minute, and counts what it leaves out.
func TestLogOfManyRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		owner := f.connect(rfc2217.Config{})
		owner.sees("modem none")
		began := time.Now()
		before := strings.Count(f.logged(), "\n")
		const each, rounds = 5, 100
		for range rounds {
			var conns []net.Conn
			for range each {
				conns = append(conns, f.dial())
			}
			for _, c := range conns {
				if got, err := io.ReadAll(c); err != nil || string(got) != "Port already in use\r\n" {
					t.Fatalf("got %q, %v", got, err)
				}
				_ = c.Close()
			}
			time.Sleep(100 * time.Millisecond) // how often they come
		}
		minutes := time.Since(began).Minutes()
		f.end()
		total := 0
		for line := range strings.Lines(f.logged()) {
			n := 0
			if _, text, ok := strings.Cut(line, `"in use"=`); ok {
				_, _ = fmt.Sscanf(text, "%d", &n)
			} else if strings.Contains(line, "client refused") {
				n = 1
			}
			total += n
		}
		if total != each*rounds {
			t.Errorf("the log counts %d refused clients, want %d", total, each*rounds)
		}
		if n := strings.Count(f.logged(), "\n") - before; float64(n) > 10*(minutes+1) {
			t.Errorf("%d lines in %.1f minutes", n, minutes)
		}
	})
}

// Each kind is logged in full once, with what to do.
func TestLogOfEachKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := inMemory(t)
		for range 20 {
			raw, silent := f.dial(), f.dial()
			_, _ = io.WriteString(raw, "GET / HTTP/1.1\r\n")
			_, _ = io.ReadAll(raw)
			_, _ = io.ReadAll(silent)
			_ = raw.Close()
			_ = silent.Close()
		}
		f.end()
		for _, full := range []string{"it sends raw bytes", "it sends nothing"} {
			if n := strings.Count(f.logged(), full); n != 1 {
				t.Errorf("%q: logged %d times, want once", full, n)
			}
		}
		raw, silent := 0, 0
		for line := range strings.Lines(f.logged()) {
			a, b := 0, 0
			if _, text, ok := strings.Cut(line, `"raw bytes"=`); ok {
				_, _ = fmt.Sscanf(text, "%d", &a)
			}
			if _, text, ok := strings.Cut(line, ` silent=`); ok {
				_, _ = fmt.Sscanf(text, "%d", &b)
			}
			raw, silent = raw+a, silent+b
		}
		if raw != 19 || silent != 19 {
			t.Errorf("counted after the first: %d raw and %d silent, want 19 each", raw, silent)
		}
	})
}
