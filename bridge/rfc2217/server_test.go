package rfc2217_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/telnet"
	"telnetcpc/bridge/uart"
)

// served is an access server's session; the test plays the client.
func served(t *testing.T) (*rfc2217.Server, *end) {
	t.Helper()
	conn, far := wirePair()
	far.send(t, will44)
	s, err := rfc2217.Accept(t.Context(), conn, rfc2217.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	synctest.Wait()
	far.taken()
	return s, far
}

// reads reads what the client sends, and answers each request with inForce, until the session ends.
func reads(s *rfc2217.Server, inForce uart.Event) {
	for {
		_, e, err := s.Next()
		if err != nil {
			return
		}
		if e.Kind != uart.KindData {
			_ = s.Answer(inForce)
		}
	}
}

// TestModemMask: NOTIFY-MODEMSTATE is the state and its changes, ANDed with the mask, sent whenever a line in the mask has
// changed.
func TestModemMask(t *testing.T) {
	lines := []uart.ModemState{uart.CTS, uart.DSR, uart.RI, uart.DCD}
	deltas := map[uart.ModemState]byte{uart.CTS: 1, uart.DSR: 2, uart.RI: 4, uart.DCD: 8}
	for mask := range 256 {
		synctest.Test(t, func(t *testing.T) {
			s, far := served(t)
			go reads(s, uart.Event{})
			_, _ = far.Write(telnet.AppendSub(nil, telnet.ComPort, []byte{11, byte(mask)}))
			synctest.Wait()
			far.taken()
			var was uart.ModemState
			for step, m := range []uart.ModemState{0, 0x10, 0x30, 0xF0, 0xF0, 0xB0, 0x00, 0x80, 0xC0, 0x10, 0xE0, 0x00} {
				if err := s.Modem(m); err != nil {
					t.Fatal(err)
				}
				want := byte(m)
				notified := false
				for _, line := range lines {
					switch {
					case m&line == was&line:
					case line == uart.RI && m&line != 0: // its rise has no bit
						notified = notified || byte(mask)&byte(line) != 0
					default:
						want |= deltas[line]
						notified = notified || byte(mask)&(byte(line)|deltas[line]) != 0
					}
				}
				notified = notified || step == 0 && mask != 0
				was = m
				sent := verbs(far.taken())
				if wanted := fmt.Sprintf("SB 6b%02x", want&byte(mask)); notified && sent != wanted || !notified && sent != "" {
					t.Errorf("mask %#x, %v: sent %q, want %q, notified %v", mask, m, sent, wanted, notified)
				}
			}
		})
	}
}

// TestReservedPurges: the reserved values of PURGE-DATA purge nothing, and are answered in order.
func TestReservedPurges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, far := served(t)
		for v := range 256 {
			far.send(t, "fffa2c0200fff0")
			_, _ = far.Write(telnet.AppendSub(nil, telnet.ComPort, []byte{12, byte(v)}))
			want := telnet.AppendSub(telnet.AppendSub(nil, telnet.ComPort, []byte{102, 7}), telnet.ComPort, []byte{112, byte(v)})
			for events := 1; ; events++ {
				_, e, err := s.Next()
				if err != nil {
					t.Fatal(err)
				}
				if real := v >= 1 && v <= 3; (e.Kind == uart.KindPurge) != (real && events == 2) || e.Kind == uart.KindPurge && e.Purge != uart.Purge(v) {
					t.Errorf("PURGE-DATA %d: got %v", v, e)
				}
				if err := s.Answer(uart.Event{Coding: uart.Coding{DataBits: 7}}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if v < 1 || v > 3 || events == 2 {
					break
				}
			}
			if got := far.taken(); !bytes.Equal(got, want) {
				t.Errorf("PURGE-DATA %d: sent %q, want %q", v, verbs(got), verbs(want))
			}
		}
	})
}

// TestManyAsked: however many questions come at once, an event has a bounded number of them, and all are answered.
func TestManyAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, far := served(t)
		const many = 500
		_, _ = far.Write(telnet.AppendSub(nil, telnet.ComPort, bytes.Repeat([]byte{2, 0}, many)))
		answers := 0
		for answers < many {
			if _, _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
			if err := s.Answer(uart.Event{Coding: uart.Coding{DataBits: 7}}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			n := bytes.Count(far.taken(), []byte("\xff\xfa\x2c\x66\x07\xff\xf0"))
			if answers += n; n == 0 || n > 64 {
				t.Fatalf("%d questions in one event", n)
			}
		}
	})
}

// TestNamedFirst: a client that requests notices of breaks gets our signature before the first, once, whichever goroutine
// writes.
func TestNamedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, far := served(t)
		go reads(s, uart.Event{})
		far.room(1) // so that nothing is sent, and the notice of the break finds the answers queued
		far.send(t, "fffa2c0a10fff0"+"fffa2c0affff"+"fff0")
		synctest.Wait()
		notified := make(chan error)
		go func() { notified <- s.Line(uart.LineBreak) }()
		synctest.Wait()
		far.room(0)
		if err := <-notified; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, want := verbs(far.taken()), "SB 6e10, SB 6474656c6e6574637063, SB 6eff, SB 6a10"; got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	})
}

// TestPaused: while the client has suspended the data, Write calls the function of WhilePaused, and its notices are sent. The end
// of the pause, of our half and of the session each end the wait.
func TestPaused(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*rfc2217.Server, *end) error
		want string
		err  bool
	}{
		{"resumed", func(_ *rfc2217.Server, far *end) error { far.send(t, "fffa2c09fff0"); return nil }, `"data"`, false},
		{"CloseWrite", func(s *rfc2217.Server, _ *end) error { return s.CloseWrite() }, "", true},
		{"Close", func(s *rfc2217.Server, _ *end) error { return s.Close() }, "", true},
		{"the client is gone", func(_ *rfc2217.Server, far *end) error { return far.CloseWrite() }, `"data"`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, far := served(t)
				go reads(s, uart.Event{})
				far.send(t, "fffa2c08fff0")
				synctest.Wait()
				m := uart.ModemState(0)
				s.WhilePaused(func() error { return s.Modem(m) })
				wrote := make(chan error)
				go func() {
					_, err := s.Write([]byte("data"))
					wrote <- err
				}()
				time.Sleep(time.Hour)
				synctest.Wait()
				if got, want := verbs(far.taken()), "SB 6b00"; got != want {
					t.Errorf("sent %q, want %q", got, want)
				}
				if err := tt.end(s, far); err != nil {
					t.Fatal(err)
				}
				if err := <-wrote; (err != nil) != tt.err {
					t.Errorf("the write ended with %v", err)
				}
				if got := verbs(far.taken()); got != tt.want {
					t.Errorf("sent %q, want %q", got, tt.want)
				}
			})
		})
	}
	t.Run("the function fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, far := served(t)
			go reads(s, uart.Event{})
			far.send(t, "fffa2c08fff0")
			synctest.Wait()
			lost := errors.New("lost")
			s.WhilePaused(func() error { return lost })
			if _, err := s.Write([]byte("data")); !errors.Is(err, lost) {
				t.Errorf("got %v, want its error", err)
			}
		})
	})
}

// A client that reads nothing may be nudged for days, and is answered afterwards.
func TestNudgedForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, far := net.Pipe() // it has no buffer
		defer far.Close()
		heard := make(chan struct{})
		go func() { // ends when the client has agreed
			defer close(heard)
			buf := make([]byte, 64)
			_, _ = far.Read(buf)
			_, _ = far.Write(telnet.AppendVerb(nil, telnet.WILL, telnet.ComPort))
		}()
		s, err := rfc2217.Accept(t.Context(), conn, rfc2217.ServerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		<-heard
		for range 40_000 {
			if err := s.Nudge(); err != nil {
				t.Fatal(err)
			}
		}
		go reads(s, uart.Event{})
		_, _ = far.Write(telnet.AppendSub(nil, telnet.ComPort, []byte{1, 0, 0, 0, 0}))
		_ = far.SetReadDeadline(time.Now().Add(time.Minute))
		for all := ""; !strings.Contains(all, "\xff\xfa\x2c\x65"); { // the answer
			p := make([]byte, 64)
			n, err := far.Read(p)
			if all += string(p[:n]); err != nil {
				t.Fatalf("%v after % x", err, all)
			}
		}
	})
}

// TestAnswerGoesBeforeLaterData: a queued answer is sent before the data of a writer that has waited for its turn. The data may
// be the device's answer to bytes that the client sent after its question.
func TestAnswerGoesBeforeLaterData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, far := served(t)
		go reads(s, uart.Event{Coding: uart.DefaultCoding()}) // ends with the session
		far.room(2)
		written := make(chan error)
		for _, p := range []string{"1234", "5\xff7"} { // the first is blocked in the socket, the second waits for it
			go func() {
				_, err := s.Write([]byte(p))
				written <- err
			}()
			synctest.Wait()
		}
		far.send(t, "fffa2c0100000000fff0") // what is the baud rate?
		synctest.Wait()
		far.room(0)
		for range 2 {
			if err := <-written; err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got, want := verbs(far.taken()), "\"1234\", SB 6500002580, \"5\xff7\""; got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	})
}
