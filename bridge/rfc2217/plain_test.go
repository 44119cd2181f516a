package rfc2217_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
)

// speak makes the server's moves.
func speak(t *testing.T, far *end, moves []move) {
	for _, m := range moves {
		time.Sleep(m.after)
		_, _ = far.Write(unhex(t, m.says))
		if m.fin {
			_ = far.CloseWrite()
		}
	}
}

// TestOpenTelnet: the session begins when BINARY and SGA are negotiated, a second later at most, so that the server decodes the
// first CR as it was encoded. Nothing that comes meanwhile is lost.
func TestOpenTelnet(t *testing.T) {
	const (
		agrees  = "fffd00" + "fffb00" + "fffd03" + "fffb03"
		refuses = "fffe00" + "fffc00" + "fffe03" + "fffc03"
	)
	for _, tt := range []struct {
		name  string
		moves []move
		takes time.Duration
		next  []string
		sent  string // of "AT\r"
	}{
		{"agrees a moment later", []move{{after: trip, says: agrees}}, trip, nil, "AT\r"},
		{"agrees in parts", []move{{after: trip, says: agrees[:8]}, {after: trip, says: agrees[8:]}}, 2 * trip, nil, "AT\r"},
		{"refuses", []move{{after: trip, says: refuses}}, trip, nil, "AT\r\x00"},
		{"refuses SGA alone", []move{{after: trip, says: agrees[:12] + refuses[12:]}}, trip, nil, "AT\r"},
		{"asks for the same itself, and answers too", []move{{says: agrees + "fffb01"}, {after: trip, says: agrees}}, 0, nil, "AT\r"},
		{"answers nothing", nil, time.Second, nil, "AT\r\x00"},
		{"answers BINARY alone", []move{{after: trip, says: agrees[:12]}}, time.Second, nil, "AT\r"},
		{"greets, and answers nothing", []move{{says: "6c6f67696e3a20"}}, time.Second, []string{"data login: "}, "AT\r\x00"},
		{"greets, agrees, and goes on", []move{{says: "610d0062"}, {after: trip, says: agrees + "630d0064"}}, trip,
			[]string{"data a\rb", "data c\r\x00d"}, "AT\r"},
		{"sends more than 64 KiB", []move{{after: trip, says: strings.Repeat("61", 64<<10+1)}}, trip,
			[]string{"data " + strings.Repeat("a", 64<<10+1)}, "AT\r\x00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				go speak(t, far, tt.moves) // ends with the last
				began := time.Now()
				c, err := rfc2217.OpenTelnet(t.Context(), conn, rfc2217.Config{})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				if took := time.Since(began); took != tt.takes {
					t.Errorf("it took %v, want %v", took, tt.takes)
				}
				synctest.Wait()
				far.taken()
				for _, want := range tt.next {
					if got := next(t, c); got != want {
						t.Errorf("got %.100q, want %.100q", got, want)
					}
				}
				if _, err := c.Write([]byte("AT\r")); err != nil {
					t.Fatal(err)
				}
				if got := string(far.taken()); got != tt.sent {
					t.Errorf("sent %q, want %q", got, tt.sent)
				}
				time.AfterFunc(time.Hour, func() { _, _ = far.Write([]byte("end")) }) // no deadline is left
				if got := next(t, c); got != "data end" {
					t.Errorf("got %q, want the data", got)
				}
			})
		})
	}
}

// TestOpenTelnetFails: it fails if the peer closes or reads nothing, or if the context ends.
func TestOpenTelnetFails(t *testing.T) {
	for _, tt := range []struct {
		name  string
		room  int // how many bytes the peer takes
		moves []move
		after time.Duration // when the context ends; 0: never
		takes time.Duration
		want  error
	}{
		{"closed", 0, []move{{after: trip, fin: true}}, 0, trip, io.EOF},
		{"takes nothing", 1, nil, 0, 10 * time.Second, rfc2217.ErrEndless},
		{"the context ends", 0, nil, trip, trip, context.DeadlineExceeded},
		{"takes nothing, and the context ends", 1, nil, trip, trip, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				far.room(tt.room)
				go speak(t, far, tt.moves) // ends with the last
				ctx := t.Context()
				if tt.after > 0 {
					limited, cancel := context.WithTimeout(ctx, tt.after)
					defer cancel()
					ctx = limited
				}
				began := time.Now()
				_, err := rfc2217.OpenTelnet(ctx, conn, rfc2217.Config{Log: slog.New(slog.DiscardHandler)})
				if took := time.Since(began); !errors.Is(err, tt.want) || took != tt.takes {
					t.Errorf("got %v after %v, want %v after %v", err, took, tt.want, tt.takes)
				}
				if tt.want == io.EOF && !strings.Contains(fmt.Sprint(err), "closed by the peer") {
					t.Errorf("got %q, want the peer's close", err)
				}
				_ = conn.Close()
			})
		})
	}
}

// TestOpenTelnetLastWords: the text of a peer that closes at once is data, and nothing is written to it: it would be lost.
func TestOpenTelnetLastWords(t *testing.T) {
	for name, moves := range map[string][]move{
		"at once":            {{says: "3132", fin: true}},
		"after an agreement": {{says: "fffd00fffb00"}, {after: trip, says: "3132", fin: true}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, far := wirePair()
				go speak(t, far, moves) // ends with the last
				c, err := rfc2217.OpenTelnet(t.Context(), conn, rfc2217.Config{})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write returns %d, %v; want nothing taken", n, err)
				}
				for _, want := range []string{"data 12", "error EOF", "error EOF"} {
					if got := next(t, c); got != want {
						t.Errorf("got %q, want %q", got, want)
					}
				}
			})
		})
	}
}
