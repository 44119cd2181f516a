package interop

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/rfc2217"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// numbers gives an order whose reply is numbers, and stores them.
func (p *runner) numbers(t *testing.T, order string, n ...*int64) {
	t.Helper()
	p.do(t, order)
	reply, err := p.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v\n%s", order, err, lastOf(p.out))
	}
	into := make([]any, len(n))
	for i := range n {
		into[i] = n[i]
	}
	if _, err := fmt.Sscan(reply, into...); err != nil {
		t.Fatalf("%s: the program replied %q", order, reply)
	}
}

// A tcdrain whose bytes left long ago costs about as much as any other call.
func TestDrainBehindAPause(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	p := startRun(t, f.url())
	p.orders(t, "open", "baud 115200")
	var drain, other int64
	best := 1e9
	for range 5 { // the machine may have been busy
		p.numbers(t, "pauses 60", &drain, &other)
		best = min(best, float64(drain)/float64(other))
	}
	if best > 15 {
		t.Errorf("a tcdrain costs %.0f times a TIOCMGET: %v and %v", best, time.Duration(drain), time.Duration(other))
	}
}

// DMX frames keep their rate, and each break its position: after the last stop bit of the frame before.
func TestBreaksKeepRateAndPlace(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	p := startRun(t, f.url())
	p.orders(t, "open")
	v := f.next()
	const each, tries, size = 40, 5, 513
	best := 1e9
	for range tries { // the machine may have been busy
		var frames, bare int64
		p.numbers(t, fmt.Sprint("frames ", each), &frames)
		p.numbers(t, fmt.Sprint("bare ", each), &bare)
		best = min(best, float64(frames)/float64(bare))
	}
	if best > 1.4 {
		t.Errorf("the frames take %.2f times as long as their pauses alone", best)
	}
	breaks := v.broke()
	if len(breaks) != each*tries {
		t.Fatalf("%d breaks arrived, want %d", len(breaks), each*tries)
	}
	for i, b := range breaks {
		if want := (place{size * i, 0}); b != want {
			t.Errorf("break %d: %d bytes had arrived and %d of them had not left, want %d and none", i, b.came, b.waiting, want.came)
		}
	}
}

// TIOCOUTQ returns what has not left: it never grows while nothing is written, and is 0 when tcdrain returns.
func TestOutqIsWhatIsLeft(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	p := startRun(t, f.url())
	p.orders(t, "open", "baud 1200")
	v := f.next()
	p.orders(t, "fill 200")
	before := int64(200)
	for n := before; n > 0; before = n {
		p.numbers(t, "outq", &n)
		if left := v.waiting(); n > before || n < int64(left) {
			t.Fatalf("TIOCOUTQ is %d after %d; %d have not left", n, before, left)
		}
	}
	if n := v.count(); n != 200 {
		t.Errorf("%d bytes have arrived when TIOCOUTQ is 0", n)
	}
	p.orders(t, "fill 100")
	p.drains(t)
	var n int64
	if p.numbers(t, "outq", &n); n != 0 {
		t.Errorf("TIOCOUTQ is %d after a tcdrain", n)
	}
}

// Bytes that wait for a session are all unsent.
func TestOutqWithoutSession(t *testing.T) {
	t.Parallel()
	f := newFar(t, record)
	p := startRun(t, f.url(), "--hold-for", "1h")
	p.orders(t, "open", "fill 1000")
	var n int64
	for range 20 {
		if p.numbers(t, "outq", &n); n != 1000 {
			t.Fatalf("TIOCOUTQ is %d for 1000 bytes that wait for a session", n)
		}
	}
}

// A program does not read the device's replies to the program before it. At 9600 baud the replies to 2,000 bytes arrive
// for two seconds. The next program opens at once and reads its own reply, and only those others that arrive after the
// last byte.
func TestNextOpenReadsItsOwn(t *testing.T) {
	t.Parallel()
	const much, few = 2000, 200
	t.Run("pty", func(t *testing.T) {
		t.Parallel()
		a := startOwn(t, "loopback").attach(t)
		closes := func() int { return strings.Count(a.out.String(), "port closed") }
		for range 2 {
			app := openPort(t, a)
			app.set(t, termios{baud: 9600, stop: 1})
			if err := app.send([]byte(strings.Repeat("a", much))); err != nil {
				t.Fatal(err)
			}
			// A pty does not see a close and an open within a moment. So wait for the close; an earlier open, by the
			// check that the port exists, may be in the log too.
			before := closes()
			_ = app.Close()
			eventually(t, "the close is detected", func() bool { return closes() > before })
			app = openPort(t, a)
			if err := app.send([]byte("b")); err != nil {
				t.Fatal(err)
			}
			if stale := len(app.until(t, 'b')) - 1; stale > few {
				t.Errorf("the next program read %d bytes of replies to the one before", stale)
			}
			before = closes()
			_ = app.Close()
			eventually(t, "the close is detected", func() bool { return closes() > before })
		}
	})
	t.Run("run", func(t *testing.T) {
		t.Parallel()
		s := startOwn(t, "loopback")
		p := startRun(t, fmt.Sprintf("rfc2217://127.0.0.1:%d", s.port))
		for range 2 {
			p.orders(t, "open", "baud 9600", fmt.Sprint("fill ", much), "close", "open", "write b")
			var stale int64
			if p.numbers(t, "until b", &stale); stale > few {
				t.Errorf("the next program read %d bytes of replies to the one before", stale)
			}
			p.orders(t, "close")
		}
	})
}

// Under run, an open waits until the bytes of the visit before have left, as at a UART.
func TestOpenWaitsForTheLastBytes(t *testing.T) {
	t.Parallel()
	f := startFar(t, record)
	p := startRun(t, f.url())
	p.orders(t, "open", "baud 1200", "fill 300", "close", "open")
	if v := f.next(); v.count() != 300 || v.waiting() != 0 {
		t.Errorf("when the next open returns, %d of 300 bytes have arrived and %d of them have not left", v.count(), v.waiting())
	}
}

// answering is the handler of a server whose device replies to each line after its last bit.
func answering(f *far, c *net.TCPConn) {
	d := newDistant()
	client, err := rfc2217.Accept(context.Background(), c, rfc2217.ServerConfig{})
	if err != nil {
		return
	}
	_ = client.Modem(uart.CTS | uart.DSR | uart.DCD)
	for {
		p, e, err := client.Next()
		if err != nil {
			return
		}
		if len(p) == 0 {
			_ = client.Answer(d.apply(e))
			continue
		}
		d.write(p)
		if strings.HasSuffix(string(p), "\n") {
			time.Sleep(time.Until(d.end())) // until the line has left
			if _, err := client.Write([]byte("OK " + strings.Repeat("x", 60) + "\n")); err != nil {
				return
			}
		}
	}
}

// A script writes with one open and reads with the next: it gets its whole reply, on a slow line and a slow network,
// even if its open makes the session.
func TestScriptHearsItsAnswer(t *testing.T) {
	t.Parallel()
	const script = `stty -F "$P" 1200 && echo AT > "$P" && head -1 < "$P" && sleep 3 && echo AT > "$P" && head -1 < "$P"`
	want := strings.Repeat("OK "+strings.Repeat("x", 60)+"\n", 2)
	reads := func(t *testing.T, cmd *exec.Cmd) {
		t.Helper()
		out, err := cmd.Output()
		if err != nil || string(out) != want {
			t.Errorf("the script reads %q (%v), want %q", out, err, want)
		}
	}
	for _, jitter := range []time.Duration{time.Millisecond, 200 * time.Millisecond} {
		t.Run(fmt.Sprint("pty ", jitter), func(t *testing.T) {
			t.Parallel()
			a := attach(t, relay(t, startFar(t, answering), jitter))
			cmd := exec.Command("timeout", "60", "sh", "-c", script)
			cmd.Env = append(cmd.Environ(), "P="+a.path)
			reads(t, cmd)
		})
		t.Run(fmt.Sprint("run ", jitter), func(t *testing.T) {
			t.Parallel()
			needRun(t)
			telnetcpc, err := binary(testenv.Race)
			if err != nil {
				t.Fatal(err)
			}
			url := relay(t, startFar(t, answering), jitter)
			reads(t, exec.Command("timeout", "60", telnetcpc, "run", url, "--", "sh", "-c", `P="$TELNETCPC_PORT"; `+script))
		})
	}
}
