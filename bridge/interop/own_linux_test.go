package interop

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// startOwn starts our own access server with a simulated UART, which is also the device.
func startOwn(t *testing.T, what string) *server {
	t.Helper()
	program, err := binary(testenv.Race)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, port: freePort(t)}
	s.command = func() *exec.Cmd {
		return exec.Command(program, "serve", "--listen", fmt.Sprintf("127.0.0.1:%d", s.port), "--simulate", what)
	}
	s.start()
	return s
}

// All bytes come back unchanged through our own server's loop plug, at a speed at which its line takes no time.
func TestOwnServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		p    []byte
	}{{"ten megabytes", noise('o', 10<<20)}, {"awkward bytes", awkward()}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			app := openPort(t, startOwn(t, "loopback").attach(t))
			app.set(t, termios{baud: 20_000_000, stop: 1})
			exchange(t, app, app, tt.p)
		})
	}
}

// A script opens the port again for each exchange, with another rate each time: it gets every reply.
func TestReopensForEachExchange(t *testing.T) {
	t.Parallel()
	a := startOwn(t, "loopback").attach(t)
	for round := range 500 {
		app := openPort(t, a)
		app.set(t, termios{baud: 20_000_000 + uint32(round), stop: 1})
		exchange(t, app, app, fmt.Appendf(nil, "poll %d", round))
		_ = app.Close()
	}
}

// The reporter replies with the settings at which a line arrived: in each session those that the application set last.
func TestOwnServerRestart(t *testing.T) {
	t.Parallel()
	s := startOwn(t, "reporter")
	a := s.attach(t)
	app := openPort(t, a)
	want := termios{baud: 19200, stop: 2}
	app.set(t, want)
	for round := range 4 {
		if round > 0 {
			s.kill()
			eventually(t, "the agent has noticed the loss", func() bool { return len(a.losses(t)) == round })
			if round == 2 { // what is set while the server is away counts too
				want = termios{baud: 57600, stop: 1}
				app.set(t, want)
			}
		}
		line := fmt.Sprintf("%02d", round)
		sent := make(chan error, 1)
		go func() { sent <- app.send([]byte(line + "\r\n")) }() // held until the server is back
		if round > 0 {
			s.start()
		}
		if err := app.expect(fmt.Appendf(nil, "%s %d 8N%d\r\n", line, want.baud, want.stop)); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

// A client that the server still considers connected occupies its port. ser2net with kickolduser disconnects it when
// the next client comes; without, the log says why there is no session, and there is one as soon as the port is free.
func TestPlaceIsTaken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		start func(*testing.T, *device) *server
		kicks bool
	}{
		{"with kickolduser", startSer2netBanner, true},
		{"without", startSer2net, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			s := tt.start(t, d)
			old, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = old.Close() }()
			_ = old.SetDeadline(time.Now().Add(testenv.Patience))
			if _, err := old.Read(make([]byte, 1)); err != nil { // the server has accepted it
				t.Fatal(err)
			}
			a := s.attach(t)
			app := openPort(t, a)
			want := termios{baud: 19200, stop: 2}
			app.set(t, want)
			sent := make(chan error, 1)
			go func() { sent <- app.send([]byte("x")) }()
			if tt.kicks {
				if _, err := io.Copy(io.Discard, old); err != nil {
					t.Errorf("the old client saw %v, want an orderly end", err)
				}
			} else {
				eventually(t, "the log says why", func() bool {
					return strings.Contains(a.out.String(), "the access server's port is in use by another client")
				})
				_ = old.Close()
			}
			if err := d.expect([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			d.arrives(t, want) // ser2net reopens its device after the old client, not in step with our commands
		})
	}
}
