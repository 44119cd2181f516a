package interop

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// There is no session before the first open, one while the port is open, and none after. In each new session the
// settings arrive before the first byte.
func TestSessionFollowsOpen(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		d := newDevice(t)
		s := k.start(t, d)
		a := attach(t, s.url(), "--linger", "100ms")
		if got := s.sessions(); len(got) != 0 {
			t.Fatalf("sessions before the port was opened: %v", got)
		}
		for round := range 3 {
			d.slave.set(t, termios{baud: 300, stop: 1})
			app := openPort(t, a)
			if round == 0 {
				app.set(t, termios{baud: 19200, stop: 2}) // a pty keeps its settings over close and open
			}
			if err := app.send([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := d.expect([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if got, want := d.termios(t), (termios{baud: 19200, stop: 2}); got != want {
				t.Errorf("round %d: at the first byte the device had %+v, want %+v", round, got, want)
			}
			if got := s.sessions(); len(got) != 1 {
				t.Errorf("round %d: sessions: got %v, want one", round, got)
			}
			_ = app.Close()
			eventually(t, "the session ends after the last close", func() bool { return len(s.sessions()) == 0 })
		}
	})
}

// A program that opens and closes in a loop makes one session.
func TestThousandOpens(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	s := startSer2net(t, d)
	p := newProxy(t, s)
	a := attach(t, p.url(), "--linger", "30s") // 2 s would do on an idle machine
	const opens = 1000
	want := noise('o', opens)
	both(t,
		func() error { return d.expect(want) },
		func() error {
			for i := range opens {
				app := openPort(t, a)
				if err := app.send(want[i : i+1]); err != nil {
					return err
				}
				_ = app.Close()
			}
			return nil
		})
	if got := p.accepted.Load(); got != 1 {
		t.Errorf("%d opens made %d sessions, want 1", opens, got)
	}
}

func TestTwoPrograms(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url(), "--linger", "100ms")
	first := openSession(t, a, d)
	session := s.sessions()
	second := openPort(t, a)
	exchange(t, second, d.line, []byte("from the second"))
	exchange(t, first, d.line, []byte("from the first"))
	second.set(t, termios{baud: 4800, stop: 1})
	d.arrives(t, termios{baud: 4800, stop: 1})
	_ = first.Close()
	exchange(t, second, d.line, noise('2', 100_000))
	exchange(t, d.line, second, noise('3', 100_000))
	if got := s.sessions(); len(got) != 1 || len(session) != 1 || got[0] != session[0] {
		t.Errorf("sessions after the first program has left: got %v, want %v", got, session)
	}
}

func TestServerRestart(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, k kind) {
		d := newDevice(t)
		s := k.start(t, d)
		a := s.attach(t)
		app := openPort(t, a)
		want := termios{baud: 19200, stop: 2, rtscts: true}
		app.set(t, want)
		exchange(t, app, d.line, []byte("before"))
		for round := 1; round <= 3; round++ {
			s.kill()
			d.slave.set(t, termios{baud: 300, stop: 1})
			eventually(t, "the agent has noticed the loss", func() bool { return len(a.losses(t)) == round })
			held := noise(byte(round), 50_000)
			if round == 2 { // settings made while the server is away count too
				want.baud = 57600
				app.set(t, want)
			}
			sent := make(chan error, 1)
			go func() { sent <- app.send(held) }()
			s.start()
			if err := d.expect(held[:1]); err != nil {
				t.Fatal(err)
			}
			if got := d.termios(t); got != want && !k.deaf {
				t.Errorf("round %d: at the first byte the device had %+v, want %+v", round, got, want)
			}
			if err := d.expect(held[1:]); err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A server that is killed loses bytes that TCP had accepted. The agent logs how many at most; everything else arrives,
// once and in order.
func TestLossIsBounded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		d := newDevice(t)
		s := k.start(t, d)
		a := attach(t, s.url())
		app := openSession(t, a, d)
		const head, tail = 5000, 64
		p := noise('l', 300_000)

		// The device stops reading after head bytes, so that all buffers on the way are full when the server dies.
		written := make(chan error, 1)
		go func() { written <- app.send(p[:len(p)-tail]) }()
		if err := d.expect(p[:head]); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the device's buffer fills", func() bool { return d.waiting(t) > 2000 })
		s.kill()
		eventually(t, "the agent has noticed the loss", func() bool { return len(a.losses(t)) > 0 })
		got := append(p[:head:head], d.rest(t)...) // read these now: a server that starts may flush its line
		s.start()

		// The tail is sent only in the new session, so it arrives whatever was lost.
		go func() {
			err := <-written
			for range int(testenv.Patience / (10 * time.Millisecond)) {
				if err != nil || len(s.sessions()) > 0 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if err == nil {
				err = app.send(p[len(p)-tail:])
			}
			written <- err
		}()
		buf := make([]byte, 32*1024)
		for !bytes.HasSuffix(got, p[len(p)-tail:]) {
			_ = d.SetReadDeadline(time.Now().Add(testenv.Patience))
			n, err := d.Read(buf)
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			got = append(got, buf[:n]...)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}

		lost, err := gap(got, p)
		if err != nil {
			t.Fatal(err)
		}
		logged := a.losses(t)
		t.Logf("lost: %d bytes; the agent logged: %+v", lost, logged)
		if len(logged) != 1 {
			t.Fatalf("losses in the log: got %+v, want one", logged)
		}
		if logged[0].atMost < lost {
			t.Errorf("lost_at_most: got %d, want at least the %d bytes that were lost", logged[0].atMost, lost)
		}
		if logged[0].unacked > logged[0].sinceMark {
			t.Errorf("unacked %d is more than since_mark %d", logged[0].unacked, logged[0].sinceMark)
		}
	})
}

// gap returns how many bytes of want are missing in got, in one piece.
func gap(got, want []byte) (int, error) {
	if len(got) > len(want) {
		return 0, fmt.Errorf("got %d bytes of %d: something arrived twice", len(got), len(want))
	}
	same := 0
	for same < len(got) && got[same] == want[same] {
		same++
	}
	lost := len(want) - len(got)
	if !bytes.Equal(got[same:], want[same+lost:]) {
		return 0, fmt.Errorf("%d of %d bytes arrived, and more than one piece is missing or changed, from byte %d on", len(got), len(want), same)
	}
	return lost, nil
}
