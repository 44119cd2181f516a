package interop

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// openSession opens the port at 115200 8N1 and sends one byte to the device: now the session is up, and the application
// reads what the device sends.
func openSession(t *testing.T, a *agent, d *device) *line {
	t.Helper()
	app := openPort(t, a)
	app.set(t, termios{baud: 115200, stop: 1})
	exchange(t, app, d.line, []byte("!"))
	return app
}

// fromDevice sends p from the device, and expects it at the port.
func (k kind) fromDevice(d *device, app *line, p []byte) error {
	if k.piece > 0 {
		for piece := range slices.Chunk(p, k.piece) {
			if err := d.send(piece); err != nil {
				return err
			}
			if err := app.expect(piece); err != nil {
				return err
			}
		}
		return nil
	}
	sent := make(chan error, 1)
	go func() { sent <- d.send(p) }()
	return errors.Join(app.expect(p), <-sent)
}

func TestTenMegabytesBothWays(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, k kind) {
		d := newDevice(t)
		app := openSession(t, k.start(t, d).attach(t), d)
		up, down := noise('u', 10<<20), noise('d', 10<<20)
		both(t,
			func() error { return app.send(up) },
			func() error { return d.expect(up) },
			func() error { return k.fromDevice(d, app, down) })
	})
}

func TestAwkwardBytes(t *testing.T) {
	t.Parallel()
	every(t, func(t *testing.T, k kind) {
		d := newDevice(t)
		app := openSession(t, k.start(t, d).attach(t), d)
		p := awkward()
		both(t,
			func() error { return app.send(p) },
			func() error { return d.expect(p) },
			func() error { return k.fromDevice(d, app, p) })
	})
}

// A server that stops reading is alive, as with a printer out of paper: that must not cost the session, a byte, or memory.
func TestServerStopsReading(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attachBinary(t, false, s.url()) // the race detector's memory is not ours
	app := openSession(t, a, d)
	session := s.sessions()

	const pause = time.Minute // much longer than the 15 s after which a dead peer is given up
	p := noise('s', 8<<20)
	sent := make(chan error, 1)
	go func() { sent <- app.sendPatiently(p, pause+testenv.Patience) }()
	if err := d.expect(p[:100_000]); err != nil {
		t.Fatal(err)
	}
	s.signal(t, syscall.SIGSTOP)
	time.Sleep(pause) // the pause under test
	s.signal(t, syscall.SIGCONT)
	if err := d.expect(p[100_000:]); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if got := s.sessions(); len(got) != 1 || len(session) != 1 || got[0] != session[0] {
		t.Errorf("sessions after the pause: got %v, want the one before it, %v", got, session)
	}
	if got, want := a.peakMemory(t), 64<<20; got >= want {
		t.Errorf("the agent's peak memory: got %d MiB, want less than %d", got>>20, want>>20)
	}
}

// `cat file > PORT` ends long before a slow device has read the file.
func TestCatToSlowDevice(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		size  int
		after bool // the device reads nothing before cat has ended
	}{
		{"one that waits for the end of cat", 12_000, true},
		{"one that reads slowly", 200_000, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			s := startSer2net(t, d)
			a := attach(t, s.url())
			want := noise('c', tt.size)
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, want, 0o600); err != nil {
				t.Fatal(err)
			}
			cat := start(t, exec.Command("sh", "-c", `cat "$0" > "$1"`, file, a.path))
			if tt.after {
				cat.wait(t)
			}
			if err := d.expectSlowly(want, 1024, time.Millisecond); err != nil {
				t.Fatal(err)
			}
			cat.wait(t)
		})
	}
}

// An application that is killed inside a write leaves a port that works.
func TestKilledInWrite(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attach(t, s.url())
	dd := start(t, exec.Command("dd", "if=/dev/zero", "of="+a.path, "bs=16M", "count=1", "conv=notrunc,nocreat"))
	eventually(t, "bytes of dd at the device", func() bool { return d.waiting(t) > 0 })
	if dd.ended() {
		t.Fatal("dd has written 16 MiB to a device that does not read")
	}
	dd.kill()

	app := openPort(t, a)
	const next = "the next one"
	sent := make(chan error, 1)
	go func() { sent <- app.send([]byte(next)) }()
	zeros := 0
	buf := make([]byte, 32*1024)
	var rest []byte // what came after the zeros
	for len(rest) < len(next) {
		_ = d.SetReadDeadline(time.Now().Add(testenv.Patience))
		n, err := d.Read(buf)
		if err != nil {
			t.Fatalf("after %d zeros and %q: %v", zeros, rest, err)
		}
		got := buf[:n]
		if len(rest) == 0 {
			got = bytes.TrimLeft(got, "\x00")
			zeros += n - len(got)
		}
		rest = append(rest, got...)
	}
	if string(rest) != next {
		t.Fatalf("after %d zeros: got %q, want %q", zeros, rest, next)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d zeros came before the next application's bytes", zeros)
}

// An application that never reads blocks only the bytes that come to it.
func TestNeverReads(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	s := startSer2net(t, d)
	a := attachBinary(t, false, s.url())
	app := openSession(t, a, d)
	down := noise('d', 2<<20)
	sent := make(chan error, 1)
	go func() { sent <- d.send(down) }()
	eventually(t, "bytes wait for the application", func() bool { return app.waiting(t) > 0 })

	exchange(t, app, d.line, noise('u', 500_000))
	if err := app.expect(down); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}
