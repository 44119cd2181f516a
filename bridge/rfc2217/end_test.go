package rfc2217_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/uart"
)

// TestCloseWrite: FIN comes after what was given to TCP and what is queued, and CloseWrite never blocks: a write that is
// blocked in the socket fails, and its rest is never sent. Next goes on.
func TestCloseWrite(t *testing.T) {
	for _, tt := range []struct {
		name    string
		written string // by a writer that is blocked in the socket; empty: there is none
		want    string
	}{
		{"while nobody writes", "", "DO TIMING-MARK"},
		{"while somebody writes", "12345678", `"1234"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, far := session(t, rfc2217.Config{Quirks: rfc2217.KeepGreeting}, willSGA+do44)
				written := make(chan int, 1)
				if tt.written == "" {
					written <- 0
				} else {
					far.room(4)
					go func() {
						n, _ := c.Write([]byte(tt.written))
						written <- n
					}()
					synctest.Wait()
					far.send(t, "fffd0661")
					if got := next(t, c); got != "data a" {
						t.Errorf("got %q, want the data", got)
					}
				}
				if !c.Mark() {
					t.Fatal("no mark under way")
				}
				began := time.Now()
				for range 2 {
					if err := c.CloseWrite(); err != nil || time.Since(began) != 0 {
						t.Fatalf("CloseWrite: %v after %v", err, time.Since(began))
					}
				}
				takesNothing(t, c)
				if n := <-written; n != len(tt.written)/2 {
					t.Errorf("the write ahead of it took %d bytes, want the 4 that there was room for", n)
				}
				far.room(0)
				all, err := io.ReadAll(far)
				if got := verbs(all); err != nil || got != tt.want {
					t.Errorf("the peer got %q, %v; want %q", got, err, tt.want)
				}
				want := []string{"marked 0", "data b", "error EOF"}
				if tt.written == "" {
					far.send(t, markWont)
				} else {
					want = want[1:] // the mark was not sent
				}
				far.send(t, "62")
				_ = far.CloseWrite()
				for _, want := range want {
					if got := next(t, c); got != want {
						t.Errorf("after FIN: got %q, want %q", got, want)
					}
				}
			})
		})
	}
}

// takesNothing checks that a session refuses what cannot come after FIN.
func takesNothing(t *testing.T, c *rfc2217.Client) {
	t.Helper()
	if n, err := c.Write([]byte("more")); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("a write after the end: %d, %v", n, err)
	}
	if err := c.Apply(uart.Event{Kind: uart.KindPurge, Purge: uart.PurgeTx}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a purge after the end: %v", err)
	}
}

// TestCloseEndsEverything: whatever is blocked in the socket or waits for it, Close does not block, and every call returns.
func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, willSGA+do44)
		far.room(1)
		results := make(chan error, 3)
		go func() {
			_, _, err := c.Next()
			results <- err
		}()
		if !c.Mark() {
			t.Fatal("no mark under way")
		}
		synctest.Wait() // the goroutine that sends the mark is blocked in the socket
		go func() {
			_, err := c.Write([]byte("data"))
			results <- err
		}()
		synctest.Wait()
		if err := c.CloseWrite(); err != nil { // ends the waiting writer
			t.Fatal(err)
		}
		if err := <-results; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write that waited for its turn: %v", err)
		}
		began := time.Now()
		for range 2 {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-results; err == nil {
			t.Error("a read of a closed session succeeds")
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
	})
}

// TestApplyEndsWithClose: Close ends an Apply whose state of the port a new peer does not read.
func TestApplyEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, do44)
		far.room(1)
		time.AfterFunc(10*time.Second, func() { _ = c.Close() })
		began := time.Now()
		if err := c.Apply(wholeState()); err == nil {
			t.Error("a state that nobody took was applied")
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it gave up after %v, want 10s", took)
		}
	})
}

// TestOwesLittle: a peer that asks and does not read is disconnected. Neither the reader nor Close waits for a writer, and no
// writer is left.
func TestOwesLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, willSGA+do44)
		far.room(27 << 10)
		go func() {
			for {
				if _, err := far.Write(unhex(t, "fffd06")); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		if _, _, err := c.Next(); !errors.Is(err, rfc2217.ErrProtocol) {
			t.Errorf("got %v, want ErrProtocol", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// TestEndAfterEvents: a subnegotiation that ends the session may contain something else first: Next returns that, then the
// end.
func TestEndAfterEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := session(t, rfc2217.Config{}, do44)
		far.room(1)
		synctest.Wait()
		says := []string{"fffa2c6b1064fff0", "fffa2c6b2064fff0"} // a modem state, and a request for the signature
		far.send(t, says[1])
		if got := next(t, c); got != "modem DSR" {
			t.Fatalf("got %q", got)
		}
		synctest.Wait()   // a writer has taken the answer to the first
		const answer = 15 // bytes
		fits := 4096 / answer
		for i := range fits + 1 {
			far.send(t, says[i%2])
		}
		modems := 0
		for {
			got := next(t, c)
			if strings.HasPrefix(got, "modem") {
				modems++
				continue
			}
			if !strings.Contains(got, "it asks more") || modems != fits+1 {
				t.Errorf("got %q after %d modem states, want the end after %d", got, modems, fits+1)
			}
			break
		}
		_ = c.Close()
	})
}
