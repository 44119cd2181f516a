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

// A server that takes a session and ends it at once: under hangup each end costs the port, so the pauses between dials
// and ports grow.
func TestHangupBacksOff(t *testing.T) {
	t.Parallel()
	f := startFar(t, func(_ *far, c *net.TCPConn) {
		_, _ = c.Write([]byte(agrees))
		_, _ = c.Read(make([]byte, 64)) // WILL COM-PORT, so that the end is FIN and no reset
	})
	a := attach(t, f.url(), "--on-loss", "hangup", "--connect", "always")
	ports := func() int { return strings.Count(a.out.String(), `msg="port ready"`) }
	<-time.After(10 * time.Second) // so long it goes on
	t.Logf("%d dials, %d ports", f.accepted.Load(), ports())
	if n := f.accepted.Load(); n < 2 || n > 40 {
		t.Errorf("%d dials in 10s, want 2 to 40", n)
	}
	if n := ports(); n > 40 {
		t.Errorf("%d ports in 10s, want 40 at most", n)
	}
}

// A file of somebody else's at the port's path while the port is away: it is left alone, the agent goes on and says why
// there is no port, and the port is back when the file is gone.
func TestHangupForeignFile(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	a := attach(t, f.url(), "--on-loss", "hangup")
	app := openPort(t, a)
	if err := app.send([]byte("before")); err != nil {
		t.Fatal(err)
	}
	v := f.next()
	eventually(t, "the session stands", func() bool { return v.got() == "before" })
	foreign := filepath.Join(filepath.Dir(a.path), "foreign")
	if err := os.WriteFile(foreign, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(foreign, a.path); err != nil {
		t.Fatal(err)
	}
	f.down()
	f.up()
	soon(t, "the agent says that something is in the way", func() bool {
		_, behind, _ := strings.Cut(a.out.String(), "unacked=") // the loss
		return strings.Contains(behind, a.path) || a.ended()
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

// A program that turned HUPCL off and left DTR up wants DTR to stay up, so that the next open does not reset the board:
// the session stays, unless a linger was given. With HUPCL it ends.
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
		{"off, and a linger", "-hupcl", []string{"--linger", "1s"}, false},
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
			p := play(t, cmd)
			p.says(t, "closed")
			v := f.next()
			const linger = 2 * time.Second // the longest of the three
			select {
			case <-v.ended:
				if tt.stays {
					t.Error("the session ended, and DTR fell with it")
				}
			case <-time.After(3 * linger):
				if !tt.stays {
					t.Errorf("the session stands %v after the last close", 3*linger)
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

// A program that writes and closes: DTR and RTS fall behind its last byte, as those of a UART do, whose driver lets a close
// wait for it.
func TestLinesFallBehindLastByte(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	p := runs(t, f.url())
	p.told(t, "open", "baud 9600", "write x")
	v := f.next()
	eventually(t, "the session stands", func() bool { return v.got() == "x" })
	const size = 1000
	p.told(t, fmt.Sprint("fill ", size), "close")
	eventually(t, "DTR has fallen", func() bool { return v.state().Control.DTR == uart.LevelOff })
	if n := v.fallen(); n > 0 || v.count() != size+1 {
		t.Errorf("DTR or RTS fell when %d of %d bytes had not left", n, v.count())
	}
}

// A server that asks for a pause and never ends it: the program hangs, so the log says why, and the way out.
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
		if err := app.send([]byte("x")); err != nil { // what comes before the server's word goes, what comes behind it waits
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

// comPort is a command of COM-PORT-OPTION as it goes over the wire.
func comPort(c rfc2217.Command) []byte { return rfc2217.AppendCommand(nil, c) }

// Somebody has changed the box's settings at its console, and the server says so: that is news, said once; and what the
// program then asks for is sent, though it was sent before.
func TestSettingsChangedAtServer(t *testing.T) {
	t.Parallel()
	changed := make(chan struct{})
	f := startFar(t, func(f *far, c *net.TCPConn) {
		tell := make(chan struct{})
		go func() { // ends with the test
			select {
			case <-changed:
				// From another goroutine than record's: a write of its own, whole, while record's has nothing to say.
				_, _ = c.Write(comPort(rfc2217.Command{Code: rfc2217.SetBaudRate + rfc2217.FromServer, Baud: 19200}))
			case <-f.over:
			}
			close(tell)
		}()
		record(f, c)
		<-tell
	})
	p := runs(t, f.url(), "-v", "--ack-timeout", "100ms")
	p.told(t, "open", "baud 9600", "write x")
	v := f.next()
	eventually(t, "the session stands", func() bool { return v.got() == "x" && v.asked(9600) == 1 })
	<-time.After(time.Second) // so much later than any answer the notice comes
	close(changed)
	news := func() (n int) {
		for row := range strings.Lines(p.out.String()) {
			if strings.Contains(row, "level=") && strings.Contains(row, "19200") {
				n++
			}
		}
		return n
	}
	soon(t, "the notice is said", func() bool { return news() > 0 })
	p.told(t, "baud 9600")
	soon(t, "SET-BAUDRATE 9600 is sent again", func() bool { return v.asked(9600) == 2 })
	p.told(t, "baud 9600", "write y") // which changes nothing any more
	eventually(t, "the byte behind it arrives", func() bool { return v.got() == "xy" })
	if n := v.asked(9600); n != 2 {
		t.Errorf("SET-BAUDRATE 9600 was sent %d times, want 2", n)
	}
	if n := news(); n != 1 {
		t.Errorf("the notice was said %d times, want once", n)
	}
}
