package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// paced is a device that reads no faster than its line.
type paced struct {
	mu    sync.Mutex // guards got
	got   []byte
	ended chan struct{}
}

// pace makes the device read at rate bytes per second until the test ends.
func (d *device) pace(t *testing.T, rate int) *paced {
	t.Helper()
	p := &paced{ended: make(chan struct{})}
	_ = d.SetReadDeadline(time.Time{})
	go func() {
		defer close(p.ended)
		buf := make([]byte, 4096)
		idle := true
		var began time.Time // of the present run
		for taken := 0; ; {
			if idle {
				began, taken = time.Now(), 0
			}
			// A UART sends no more than its line carries in the time.
			due := int(time.Since(began).Seconds()*float64(rate)) - taken
			if due <= 0 && !idle {
				time.Sleep(time.Millisecond) // the line's speed
				continue
			}
			n, err := d.Read(buf[:min(max(due, 1), len(buf))])
			if err != nil {
				return
			}
			p.mu.Lock()
			p.got = append(p.got, buf[:n]...)
			p.mu.Unlock()
			taken += n
			idle = n < due/2 // it waited for bytes: idle time carries none
		}
	}()
	t.Cleanup(func() {
		_ = d.SetReadDeadline(time.Now())
		<-p.ended
	})
	return p
}

func (p *paced) bytes() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.got)
}

// cat runs cat FILE > PORT in a shell, with p in the file.
func cat(t *testing.T, p []byte, path string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, p, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command("sh", "-c", `cat "$0" > "$1"`, file, path)).wait(t)
}

// Everything that was written before the last close leaves the far UART before the session ends, however much the
// access server has buffered: a reply to TIMING-MARK does not mean that the line has carried the bytes.
func TestLastBytesOfSer2net(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		size int
		baud uint32
	}{{20_000, 38400}, {150_000, 115200}} {
		t.Run(fmt.Sprintf("%d bytes at %d", tt.size, tt.baud), func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			s := startSer2net(t, d)
			a := s.attach(t, "--linger", "100ms", "--baud", fmt.Sprint(tt.baud))
			line := d.pace(t, int(tt.baud/10))
			want := noise('c', tt.size)
			cat(t, want, a.path)
			eventually(t, "the session is up", func() bool { return len(s.sessions()) > 0 })
			eventually(t, "the session ends", func() bool { return len(s.sessions()) == 0 })
			atEnd := len(line.bytes())
			// Bytes in the kernel's buffer between server and device are not lost.
			within(testenv.Patience, func() bool { return len(line.bytes()) >= len(want) })
			settled(t, func() int { return len(line.bytes()) }) // and no more arrive
			got := line.bytes()
			if !bytes.Equal(got, want) {
				lost, err := gap(got, want)
				t.Errorf("%d of %d bytes left the server's line, %d of them before the session ended; lost in one piece: %d (%v)",
					len(got), len(want), atEnd, lost, err)
			}
		})
	}
}

// settled waits until a number no longer changes.
func settled(t *testing.T, now func() int) {
	t.Helper()
	last := -1
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(testenv.Patience); ; <-tick.C {
		n := now()
		if n == last {
			return
		}
		if last = n; time.Now().After(end) {
			t.Fatal("bytes arrive without an end")
		}
	}
}

// A server that reads as fast as it can and sends at line speed, with an unlimited buffer: the client's FIN comes only
// after the line has carried everything.
func TestLastBytesOfFastReader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		size int
		baud uint32
	}{{4 << 10, 4800}, {64 << 10, 57600}, {1 << 20, 921600}} {
		t.Run(fmt.Sprintf("%d bytes at %d", tt.size, tt.baud), func(t *testing.T) {
			t.Parallel()
			f := startFar(t, record)
			a := attach(t, f.url(), "--linger", "100ms", "--baud", fmt.Sprint(tt.baud))
			want := noise('f', tt.size)
			cat(t, want, a.path)
			v := f.next()
			v.endsInOrder(t)
			if v.left > 0 {
				t.Errorf("at FIN %d of %d bytes had not left the line", v.left, tt.size)
			}
			if got := v.got(); got != string(want) {
				t.Errorf("%d bytes arrived, want the %d that were written", len(got), len(want))
			}
			if n := f.accepted.Load(); n != 1 {
				t.Errorf("sessions: got %d, want 1", n)
			}
		})
	}
}

// On a host that cannot drain, a change of settings waits for the bytes before it, even for more than a second: bytes
// at the wrong rate are always wrong. CUPS needs this, whose backend restores the settings at its end.
func TestSettingsWaitForBytes(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	a := attach(t, f.url(), "--linger", "100ms")
	app := openPort(t, a)
	app.set(t, termios{baud: 9600, stop: 1})
	want := noise('s', 3000) // 3.1 s
	if err := app.send(want); err != nil {
		t.Fatal(err)
	}
	v := f.next()
	eventually(t, "the access server has the bytes", func() bool { return v.count() == len(want) }) // long before they leave
	app.set(t, termios{baud: 38400, stop: 1})
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	v.endsInOrder(t)
	if v.asked(38400) == 0 {
		t.Error("the change was never sent")
	}
	if err := leftAt(v.stretches(), stretch{9600, want}); err != nil {
		t.Error(err)
	}
}

// leftAt compares the bytes that have left a UART, and their baud rates, with what is wanted.
func leftAt(got []stretch, want ...stretch) error {
	same := len(got) == len(want)
	for i := 0; same && i < len(want); i++ {
		same = got[i].baud == want[i].baud && bytes.Equal(got[i].data, want[i].data)
	}
	if same {
		return nil
	}
	text := "left the far UART:"
	for _, s := range got {
		text += fmt.Sprintf(" %d bytes at %d,", len(s.data), s.baud)
	}
	text += " want"
	for _, s := range want {
		text += fmt.Sprintf(" %d bytes at %d,", len(s.data), s.baud)
	}
	return errors.New(text[:len(text)-1])
}

// What a script writes before it closes the port waits for the first dial, even if nothing is held for the next
// session: each line arrives. The device is a plain TCP listener, because the kind of server does not matter here.
func TestEachLineOfAScriptArrives(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	a := attach(t, "tcp://"+l.Addr().String(), "--on-loss", "discard", "--linger", "0s")
	for round := range 100 {
		line := fmt.Sprintf("line %d\n", round)
		start(t, exec.Command("sh", "-c", `printf %s "$0" > "$1"`, line, a.path)).wait(t)
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(testenv.Patience))
		conn, err := l.Accept()
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, lastOf(a.out))
		}
		_ = conn.SetDeadline(time.Now().Add(testenv.Patience))
		got, err := io.ReadAll(conn)
		_ = conn.Close()
		if err != nil || string(got) != line {
			t.Fatalf("the device got %q (%v), want %q", got, err, line)
		}
	}
}
