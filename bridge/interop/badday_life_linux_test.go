package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// A server that accepts each session and ends it at once: with --on-loss hangup each end removes the port, so the
// pauses between dials and ports grow.
func TestHangupBacksOff(t *testing.T) {
	t.Parallel()
	f := startFar(t, func(_ *far, c *net.TCPConn) {
		_, _ = c.Write([]byte(agrees))
		_, _ = c.Read(make([]byte, 64)) // WILL COM-PORT, so that the end is FIN and not a reset
	})
	a := attach(t, f.url(), "--on-loss", "hangup", "--connect", "always")
	ports := func() int { return strings.Count(a.out.String(), `msg="port ready"`) }
	<-time.After(10 * time.Second) // how long it goes on
	t.Logf("%d dials, %d ports", f.accepted.Load(), ports())
	if n := f.accepted.Load(); n < 2 || n > 40 {
		t.Errorf("%d dials in 10s, want 2 to 40", n)
	}
	if n := ports(); n > 40 {
		t.Errorf("%d ports in 10s, want 40 at most", n)
	}
}

// A foreign file at the port's path while the port is away: the agent leaves it alone, goes on, and logs why there is
// no port. The port is back when the file is gone.
func TestHangupForeignFile(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	a := attach(t, f.url(), "--on-loss", "hangup")
	app := openPort(t, a)
	if err := app.send([]byte("before")); err != nil {
		t.Fatal(err)
	}
	v := f.next()
	eventually(t, "the session is up", func() bool { return v.got() == "before" })
	foreign := filepath.Join(filepath.Dir(a.path), "foreign")
	if err := os.WriteFile(foreign, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(foreign, a.path); err != nil {
		t.Fatal(err)
	}
	f.down()
	f.up()
	soon(t, "the log says that a file is in the way", func() bool {
		_, after, _ := strings.Cut(a.out.String(), "unacked=") // the loss
		return strings.Contains(after, a.path) || a.ended()
	})
	_ = app.Close()
	if text, err := os.ReadFile(a.path); err != nil || string(text) != "precious" {
		t.Fatalf("the foreign file: %q, %v", text, err)
	}
	if err := os.Remove(a.path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the port is back", func() bool {
		if a.ended() {
			t.Fatalf("the agent ended: %v", a.err)
		}
		at, err := os.Stat(a.path)
		return err == nil && at.Mode()&os.ModeCharDevice != 0
	})
	if err := openPort(t, a).send([]byte("after")); err != nil {
		t.Fatal(err)
	}
	v = f.next()
	eventually(t, "the port works", func() bool { return v.got() == "after" })
}

// If a program clears HUPCL and leaves DTR on, DTR must stay on, so that the next open does not reset a board: the
// session stays up, unless --linger is given. With HUPCL it ends.
func TestHupcl(t *testing.T) {
	t.Parallel()
	need(t, "stty")
	needRun(t)
	for _, tt := range []struct {
		name  string
		word  string
		flags []string
		stays bool
	}{
		{"off", "-hupcl", nil, true},
		{"off, with --linger", "-hupcl", []string{"--linger", "1s"}, false},
		{"on", "hupcl", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := startFar(t, record)
			telnetcpc, err := binary(testenv.Race)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "ttyV0")
			args := append([]string{"run", "-v", "--port", path}, tt.flags...)
			cmd := exec.Command(telnetcpc, append(args, f.url(), "--", "sh", "-ec",
				`stty -F "$0" "$1"; printf x > "$0"; echo closed; read line`, path, tt.word)...)
			cmd.WaitDelay = time.Second
			p := startPuppet(t, cmd)
			p.replies(t, "closed")
			v := f.next()
			const linger = 2 * time.Second // the longest of the three
			select {
			case <-v.ended:
				if tt.stays {
					t.Error("the session ended, so DTR fell")
				}
			case <-time.After(3 * linger):
				if !tt.stays {
					t.Errorf("the session is up %v after the last close", 3*linger)
				}
				if c := v.state().Control; c.DTR != uart.LevelOn {
					t.Errorf("DTR is %v at the far UART, want it on", c.DTR)
				}
			}
			if got := v.got(); got != "x" {
				t.Errorf("the device got %q, want x", got)
			}
			p.do(t, "")
			p.wait(t)
			v.endsInOrder(t)
			if n := f.accepted.Load(); n != 1 {
				t.Errorf("sessions: got %d, want 1", n)
			}
		})
	}
}

// A program writes and closes: DTR and RTS fall after its last byte, as at a UART, whose driver makes the close wait.
func TestLinesFallBehindLastByte(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	p := startRun(t, f.url())
	p.orders(t, "open", "baud 9600", "write x")
	v := f.next()
	eventually(t, "the session is up", func() bool { return v.got() == "x" })
	const size = 1000
	p.orders(t, fmt.Sprint("fill ", size), "close")
	eventually(t, "DTR has fallen", func() bool { return v.state().Control.DTR == uart.LevelOff })
	if n := v.fallen(); n > 0 || v.count() != size+1 {
		t.Errorf("DTR or RTS fell when %d of %d bytes had not left", n, v.count())
	}
}

// A server sends FLOWCONTROL-SUSPEND and never RESUME: the program hangs, so the log says why and what to do.
func TestSuspendedForGood(t *testing.T) {
	t.Parallel()
	f := startFar(t, func(f *far, c *net.TCPConn) {
		_, _ = c.Write([]byte(speaks))
		_, _ = c.Write(comPort(rfc2217.Command{Code: rfc2217.FlowSuspend + rfc2217.FromServer}))
		<-f.over
	})
	a := attach(t, f.url())
	app := openPort(t, a)
	defer f.down()
	soon(t, "a warning that names --quirk suspend-ignore", func() bool {
		if err := app.send([]byte("x")); err != nil { // bytes before the server's SUSPEND are sent, bytes after it wait
			t.Fatal(err)
		}
		for row := range strings.Lines(a.out.String()) {
			if strings.Contains(row, "level=WARN") && strings.Contains(row, "--quirk suspend-ignore") {
				return true
			}
		}
		return false
	})
}

// comPort returns a command of COM-PORT-OPTION as sent over the wire.
func comPort(c rfc2217.Command) []byte { return rfc2217.AppendCommand(nil, c) }

// The settings were changed at the server's console, and the server sends a notice: it is logged once, and what the
// program sets then is sent, though it was sent before.
func TestSettingsChangedAtServer(t *testing.T) {
	t.Parallel()
	changed := make(chan struct{})
	f := startFar(t, func(f *far, c *net.TCPConn) {
		sent := make(chan struct{})
		go func() { // ends with the test
			select {
			case <-changed:
				// In another goroutine than record: one whole write, while record writes nothing.
				_, _ = c.Write(comPort(rfc2217.Command{Code: rfc2217.SetBaudRate + rfc2217.FromServer, Baud: 19200}))
			case <-f.over:
			}
			close(sent)
		}()
		record(f, c)
		<-sent
	})
	p := startRun(t, f.url(), "-v", "--ack-timeout", "100ms")
	p.orders(t, "open", "baud 9600", "write x")
	v := f.next()
	eventually(t, "the session is up", func() bool { return v.got() == "x" && v.asked(9600) == 1 })
	<-time.After(time.Second) // the notice comes much later than any answer
	close(changed)
	notices := func() (n int) {
		for row := range strings.Lines(p.out.String()) {
			if strings.Contains(row, "level=") && strings.Contains(row, "19200") {
				n++
			}
		}
		return n
	}
	soon(t, "the notice is logged", func() bool { return notices() > 0 })
	p.orders(t, "baud 9600")
	soon(t, "SET-BAUDRATE 9600 is sent again", func() bool { return v.asked(9600) == 2 })
	p.orders(t, "baud 9600", "write y") // this baud does not change anything
	eventually(t, "the byte after it arrives", func() bool { return v.got() == "xy" })
	if n := v.asked(9600); n != 2 {
		t.Errorf("SET-BAUDRATE 9600 was sent %d times, want 2", n)
	}
	if n := notices(); n != 1 {
		t.Errorf("the notice was logged %d times, want once", n)
	}
}
