package remote

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/uart"
)

// speaker is an access server over real TCP, played by a test.
type speaker struct {
	t      *testing.T
	scheme Scheme
	conn   net.Conn // TLS for rfc2217+tls
	tcp    *net.TCPConn
}

// call dials a server that play plays, once for each scheme, and runs play and use at the same time. It checks that no
// goroutine is left afterwards.
func call(t *testing.T, play func(s speaker), use func(t *testing.T, s uart.Session)) {
	for _, scheme := range []Scheme{SchemeTCP, SchemeTelnet, SchemeRFC2217, SchemeRFC2217TLS} {
		t.Run(string(scheme), func(t *testing.T) {
			var config *tls.Config
			if scheme == SchemeRFC2217TLS {
				config = serverTLS(t)
			}
			alone := goleak.IgnoreCurrent()
			played := make(chan struct{})
			u := serve(t, func(conn net.Conn) {
				defer close(played)
				s := speaker{t: t, scheme: scheme, conn: conn, tcp: conn.(*net.TCPConn)}
				_ = s.tcp.SetReadBuffer(8 << 10)
				_ = s.tcp.SetDeadline(time.Now().Add(enough))
				if config != nil {
					s.conn = tls.Server(conn, config)
				}
				if scheme == SchemeRFC2217 || scheme == SchemeRFC2217TLS {
					if _, err := io.ReadFull(s.conn, make([]byte, 3)); err != nil { // WILL COM-PORT
						t.Error(err)
					}
					s.say("\xff\xfd\x2c")
				}
				if scheme == SchemeTelnet {
					if _, err := io.ReadFull(s.conn, make([]byte, 12)); err != nil { // BINARY and SGA, both ways
						t.Error(err)
					}
					s.say("\xff\xfd\x00\xff\xfb\x00\xff\xfd\x03\xff\xfb\x03")
				}
				play(s)
			})
			u.Scheme = scheme
			o := Options{Log: slog.New(slog.DiscardHandler), Quirks: rfc2217.KeepGreeting} // these servers answer no query
			if config != nil {
				o.TLS.Insecure = true
			}
			r, err := New(u, o)
			if err != nil {
				t.Fatal(err)
			}
			s, err := r.Dial(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			over := time.AfterFunc(enough, func() { _ = s.Close() })
			use(t, s)
			_ = s.Close()
			if !over.Stop() {
				t.Errorf("something did not come within %v", enough)
			}
			<-played
			if err := goleak.Find(alone); err != nil {
				t.Error(err)
			}
		})
	}
}

func (s speaker) say(text string) {
	if _, err := s.conn.Write([]byte(text)); err != nil {
		s.t.Error(err)
	}
}

// total is how many bytes TestEverythingArrives writes.
const total = 100_000

// readSlowly sends all the time and reads as often as it sends. It wants a number of bytes and then the end.
func (s speaker) readSlowly(want int) {
	sent, over := make(chan struct{}), make(chan struct{})
	ended := make(chan struct{})
	go func() { // ends with over
		defer close(ended)
		for {
			if _, err := s.conn.Write(bytes.Repeat([]byte("s"), 100)); err != nil {
				s.t.Errorf("the server's write: %v", err)
				return
			}
			select {
			case sent <- struct{}{}:
			case <-over:
				return
			}
		}
	}()
	got, buf := 0, make([]byte, 500)
	for {
		<-sent
		n, err := s.conn.Read(buf)
		got += bytes.Count(buf[:n], []byte("g"))
		if err != nil {
			if err != io.EOF {
				s.t.Errorf("the server's read: %v", err)
			}
			break
		}
	}
	if got != want {
		s.t.Errorf("%d bytes arrived of %d", got, want)
	}
	if n, err := s.tcp.Read(buf); n != 0 || err != io.EOF { // FIN, also after close_notify
		s.t.Errorf("after the end: %d bytes, %v; want FIN", n, err)
	}
	close(over)
	<-ended
	s.say("last")
	_ = s.conn.Close()
}

// TestEverythingArrives: after CloseWrite, a session is read until the peer's FIN, and then closed. So all bytes arrive,
// although the peer sends all the time and reads slowly: a close with unread bytes would be a reset, which discards bytes
// in flight.
func TestEverythingArrives(t *testing.T) {
	call(t, func(s speaker) { s.readSlowly(total) }, func(t *testing.T, s uart.Session) {
		read := make(chan []byte, 1)
		go func() { // ends with the peer's FIN
			var all []byte
			for {
				p, _, err := s.Next()
				all = append(all, p...)
				if err != nil {
					if err != io.EOF {
						t.Errorf("the session ended with %v, want %v", err, io.EOF)
					}
					read <- all[max(0, len(all)-4):]
					return
				}
			}
		}()
		for p := bytes.Repeat([]byte("g"), total); len(p) > 0; {
			n, err := s.Write(p)
			if err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if last := <-read; string(last) != "last" {
			t.Errorf("the last bytes are %q, want those that the server sent after our FIN", last)
		}
	})
}

// TestCloseEndsWrite: Close ends a write to a peer that reads nothing, and does not wait for the peer.
func TestCloseEndsWrite(t *testing.T) {
	for name, write := range map[string]func(s uart.Session) error{
		"Write": func(s uart.Session) error { _, err := s.Write(make([]byte, 1<<20)); return err },
		"Apply": func(s uart.Session) error {
			return s.Apply(uart.Event{Kind: uart.KindSettings, Coding: uart.DefaultCoding()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			call(t, func(s speaker) { <-done }, func(t *testing.T, s uart.Session) {
				defer func() { done <- struct{}{} }()
				if name == "Apply" && s.Fidelity() == 0 {
					return // it sends nothing
				}
				ended := make(chan error, 1)
				go func() {
					var err error
					for err == nil {
						err = write(s)
					}
					ended <- err
				}()
				for last, same := -2, 0; same < 20; { // until the bytes in flight grow no more: the write is blocked
					if n := s.Unacked(); n != last {
						last, same = n, 0
					} else {
						same++
					}
					time.Sleep(time.Millisecond)
				}
				if err := s.CloseWrite(); err != nil {
					t.Error(err)
				}
				_ = s.Close()
				if err := <-ended; err == nil {
					t.Error("writes succeed after Close")
				}
			})
		})
	}
}

// TestFloodOfRequests: the session with a peer that asks for timing marks and reads no answer ends, and leaves no goroutine.
func TestFloodOfRequests(t *testing.T) {
	call(t, func(s speaker) {
		for asks := bytes.Repeat([]byte("\xff\xfd\x06"), 1000); ; {
			if _, err := s.conn.Write(asks); err != nil {
				return
			}
		}
	}, func(t *testing.T, s uart.Session) {
		if _, is := s.(*raw); is {
			return // it answers nothing
		}
		for {
			if _, _, err := s.Next(); err != nil {
				if !errors.Is(err, rfc2217.ErrProtocol) {
					t.Errorf("got %v, want %v", err, rfc2217.ErrProtocol)
				}
				return
			}
		}
	})
}
