//go:build amd64 || arm64

package run_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/ordered"
	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/run"
)

// An open that waits has the port as little as one that waits in a serial driver: it hides no close.

// TestKilledOpenHidesNoClose: nor does one whose program was killed while it waited, which nothing tells.
func TestKilledOpenHidesNoClose(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Up: true})
	b.takes()
	leaves := func(o uarttest.Program) {
		t.Helper()
		if _, err := o.Write([]byte("12345")); err != nil {
			t.Fatal(err)
		}
		b.says(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true})
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	leaves(returns(t, b.opens(t, p, path)))
	killed := p.spawn(t, "exec 3<>"+path)
	eventually(t, "the shell's open waits", b.wasAsked)
	b.says(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true})
	again := b.opens(t, p, path)
	b.waits(t, again)
	killed.kill(t)
	b.says(uart.Unsent{Up: true})
	leaves(returns(t, again))

	last := b.opens(t, p, path)
	b.waits(t, last)
	b.says(uart.Unsent{Up: true})
	_ = returns(t, last).Close()
}

// TestTerminalHidesNoClose: an open that the kernel performs, since it makes the port the program's controlling terminal, is
// held by nobody once it was closed.
func TestTerminalHidesNoClose(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Left: time.Hour, Bytes: 5, Up: true})
	b.takes()
	leader := p.spawn(t, "exec 3<>"+path+"; true </dev/tty && echo terminal; printf 12345 >&3; exec 3>&-; echo closed; exec tail -f /dev/null")
	if out := leader.says(t, "closed"); out != "terminal\nclosed\n" {
		t.Errorf("the port's open made no controlling terminal: %s", out)
	}
	b.says(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true}) // the leader's open has asked too
	next := b.opens(t, p, path)
	b.waits(t, next)
	b.says(uart.Unsent{Up: true})
	_ = returns(t, next).Close()
	leader.kill(t)
}

// begin and end are what a first open and a last close do.
const begin, end = "opened, settings DTR on RTS on", "settings DTR off RTS off, closed"

// follows takes all that the programs do, as takes does. What it returns waits until that is want, since it was last called.
func (b *bridge) follows(t *testing.T) (saw func(want string)) {
	t.Helper()
	var mu sync.Mutex // over seen
	var seen []string
	b.takesTo(func(data []byte, e uart.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind != uart.KindData {
			data = []byte(e.String())
		}
		seen = append(seen, string(data))
	})
	return func(want string) {
		t.Helper()
		got := ""
		for end := time.Now().Add(testenv.Patience); got != want && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			mu.Lock()
			got = strings.Join(seen, ", ")
			mu.Unlock()
		}
		mu.Lock()
		defer mu.Unlock()
		if got != want {
			t.Fatalf("got %s; want %s", got, want)
		}
		seen = nil
	}
}

// needsCarrier makes a port whose opens wait for the carrier, and follows it.
func needsCarrier(t *testing.T) (p programs, path string, b *bridge, saw func(want string)) {
	t.Helper()
	h := newHost(t)
	p = programs{puppet(t, h)}
	path = uarttest.TTY{}.Path(t)
	b = newBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Up: true})
	saw = b.follows(t)
	p.spawn(t, "stty -F "+path+" -clocal").says(t, "")
	saw(begin + ", settings 9600 8N1 none, " + end)
	return p, path, b, saw
}

// outside opens the port for this test, which is a program that was not started here.
func outside(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestCarrierHidesNoClose: what an open that waits for the carrier sees of the others is what a serial driver makes of it: the
// last close drops DTR and RTS, and the open that waits raises them again. It reads what came meanwhile.
func TestCarrierHidesNoClose(t *testing.T) {
	p, path, b, saw := needsCarrier(t)

	waits := p.spawn(t, "head -c 5 "+path)
	saw(begin)
	p.spawn(t, "stty -F "+path+" speed").says(t, "") // its open waits for no carrier
	saw(end + ", " + begin)
	for _, word := range []string{"HEL", "LO"} {
		if n, err := b.Write([]byte(word)); n != len(word) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := b.SetModem(uart.DCD); err != nil {
		t.Fatal(err)
	}
	if out := waits.says(t, ""); out != "HELLO" {
		t.Errorf("it read %q", out)
	}
	saw(end)
}

// TestBreakForAnOpenThatWaits: a break that comes meanwhile is read in its place.
func TestBreakForAnOpenThatWaits(t *testing.T) {
	p, path, b, saw := needsCarrier(t)
	p.spawn(t, "stty -F "+path+" parmrk -ignbrk -brkint").says(t, "")
	saw(begin + ", settings 9600 8N1 none, " + end)
	waits := p.spawn(t, "head -c 5 "+path)
	saw(begin)
	if n, err := b.Write([]byte("A")); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := b.ReportLine(uart.LineBreak); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Write([]byte("B")); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := b.SetModem(uart.DCD); err != nil {
		t.Fatal(err)
	}
	if out := waits.says(t, ""); out != "A\xff\x00\x00B" {
		t.Errorf("it read %q", out)
	}
}

// TestHangupWhileAnOpenWaits: an open that waits when DCD falls begins again, on the pty that the port goes on with. Bytes that wait
// for it are gone with the old one.
func TestHangupWhileAnOpenWaits(t *testing.T) {
	p, path, b, saw := needsCarrier(t)
	p.spawn(t, writesNonblocking(path, 5)).says(t, "wrote")
	saw(begin + ", \x00\x00\x00\x00\x00, " + end)
	b.says(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true}) // so it waits, carrier or not
	waits := p.spawn(t, "head -c 5 "+path)
	saw(begin)
	eventually(t, "the open waits", b.wasAsked)
	before := b.Name()
	if n, err := b.Write([]byte("stale")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	for _, m := range []uart.ModemState{uart.DCD, 0} {
		if err := b.SetModem(m); err != nil {
			t.Fatal(err)
		}
	}
	saw(end + ", " + begin)
	if b.Name() == before {
		t.Errorf("the port has not been hung up")
	}
	b.says(uart.Unsent{Up: true})
	if err := b.SetModem(uart.DCD); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Write([]byte("HELLO")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if out := waits.says(t, ""); out != "HELLO" {
		t.Errorf("it read %q", out)
	}
	saw(end)
}

// TestCloseWhileAnOpenWaits: the port's end answers an open that waits, and a Write that waits for that open.
func TestCloseWhileAnOpenWaits(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newBridge(t, h, path, 10*testenv.Patience, uart.Unsent{}) // no session
	waits := p.spawn(t, "cat "+path)
	eventually(t, "its open waits", func() bool { return run.Waits(b.Port) == 1 })
	wrote := make(chan error, 1)
	go func() {
		_, err := b.Write(make([]byte, 64<<10))
		wrote <- err
	}()
	select {
	case err := <-wrote:
		t.Fatalf("there is no room, and the write has returned: %v", err)
	case <-time.After(50 * time.Millisecond): // it would have by now
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; !errors.Is(err, uart.ErrClosed) {
		t.Errorf("the write: %v", err)
	}
	if out := waits.says(t, ""); !strings.Contains(out, "No such file or directory") {
		t.Errorf("it says %q", out)
	}
}

// writesNonblocking is a shell's command that opens the port without waiting for the carrier, writes so many zeros, and says so.
func writesNonblocking(path string, size int) string {
	return fmt.Sprintf("dd if=/dev/zero of=%s bs=%d count=1 oflag=nonblock conv=nocreat,notrunc 2>&1 && echo wrote", path, size)
}

// TestBytesWaitForTheOpen: what the device says as the session begins, be it much, is for the program whose open has waited for
// that. Only what comes without end while all opens wait for the carrier is dropped, and counted: the carrier may come after it.
func TestBytesWaitForTheOpen(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newBridge(t, h, path, 10*testenv.Patience, uart.Unsent{})
	text := make([]byte, 200_000)
	for i := range text {
		text[i] = byte('a' + i*i%26)
	}
	reads := p.spawn(t, fmt.Sprintf("head -c %d %s", len(text), path))
	var ready func(error)
	for ready == nil {
		_, e, err := b.Next()
		if err != nil {
			t.Fatal(err)
		}
		ready = e.Ready
	}
	b.takes()
	wrote := make(chan error, 1)
	go func() { // ends with the port
		n, err := b.Write(text)
		if err == nil && n != len(text) {
			err = fmt.Errorf("%d bytes of %d", n, len(text))
		}
		wrote <- err
	}()
	select {
	case err := <-wrote:
		t.Errorf("there is no room, and the write has returned: %v", err)
	case <-time.After(50 * time.Millisecond): // it would have by now
	}
	ready(nil)
	if out := reads.says(t, ""); out != string(text) {
		t.Errorf("%d bytes arrived of %d", len(out), len(text))
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}

	p.spawn(t, "stty -F "+path+" -clocal").says(t, "")
	reads = p.spawn(t, "head -c 5 "+path)
	eventually(t, "the port takes no more", func() bool {
		n, err := b.Write(text)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0 && n < len(text) // 0: nobody has it open
	})
	if err := b.SetModem(uart.DCD); err != nil {
		t.Fatal(err)
	}
	if out := reads.says(t, ""); out != string(text[:5]) {
		t.Errorf("it read %q", out)
	}
}

// TestOutsideWhileAnOpenWaits: what a program that was not started here does meanwhile is seen as at other times, though its
// bytes may be taken before its open is told. What came before it opened comes before what came later.
func TestOutsideWhileAnOpenWaits(t *testing.T) {
	p, path, b, saw := needsCarrier(t)
	waits := p.spawn(t, "head -c 5 "+path)
	saw(begin)
	for range 20 { // as often as not it is seen in time
		f := outside(t, path)
		if _, err := f.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		saw("x, " + end + ", " + begin)
	}

	if _, err := b.Write([]byte("HEL")); err != nil {
		t.Fatal(err)
	}
	f := outside(t, path)
	defer f.Close()
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	saw("x") // so it was seen
	if _, err := b.Write([]byte("LO")); err != nil {
		t.Fatal(err)
	}
	if err := b.SetModem(uart.DCD); err != nil {
		t.Fatal(err)
	}
	if out := waits.says(t, ""); out != "HELLO" {
		t.Errorf("it read %q", out)
	}
}

// TestWaitingOpenMakesNoRoom: while an open waits for the carrier, programs that come, write and go are held as at other times
// when nobody carries their bytes on. See TestOpenWaitsForRoom.
func TestWaitingOpenMakesNoRoom(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newBridge(t, h, path, 0, uart.Unsent{})
	p.spawn(t, "stty -F "+path+" -clocal").says(t, "")
	_ = p.spawn(t, "exec 3<>"+path) // ends with the port
	eventually(t, "the shell's open waits", func() bool { return run.Waits(b.Port) == 1 })
	const rounds, size = 20, 8 << 10
	came, over := make(chan bool, rounds), make(chan bool)
	go func() {
		defer close(over)
		for range rounds {
			p.spawn(t, writesNonblocking(path, size)).says(t, "wrote")
			came <- true
		}
	}()
	n := 0
	for quiet, end := false, time.After(testenv.Patience); !quiet; {
		select {
		case <-over:
			t.Errorf("%d programs have written, and nobody took it", rounds)
			return
		case <-came:
			n++
		case <-time.After(time.Second):
			quiet = n*size >= ordered.Limit // else the machine is slow
		case <-end:
			t.Errorf("an open has waited after %d bytes", n*size)
			quiet = true
		}
	}
	b.takes()
	<-over
}

// TestLeaderHidesNoClose: nor does one who opens the port again and again, and whose terminal it does not become, or is not any
// more.
func TestLeaderHidesNoClose(t *testing.T) {
	const again = "import os, fcntl, termios, signal, time\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" +
		"for i in range(5):\n f = os.open('$PORT', os.O_RDWR)\n fcntl.ioctl(f, termios.TIOCNOTTY)\n os.close(f)\n"
	for _, tt := range []struct{ name, first, script, want string }{
		{"only writes", "", "printf 1 >$PORT; printf 2 >$PORT; while :; do :; done",
			begin + ", 1, " + end + ", " + begin + ", 2, " + end},
		{"another's", "exec 3<>$PORT; exec 3>&-; echo ready; exec tail -f /dev/null", ": <>$PORT; : <>$PORT; while :; do :; done",
			begin + ", " + end + ", " + begin + ", " + end},
		{"given up", "", `exec /usr/bin/python3 -c "` + again + `time.sleep(600)"`,
			strings.Repeat(begin+", "+end+", ", 4) + begin + ", " + end},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			p := programs{puppet(t, h)}
			path := uarttest.TTY{}.Path(t)
			b := newBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Up: true})
			saw := b.follows(t)
			if tt.first != "" {
				first := p.spawn(t, strings.ReplaceAll(tt.first, "$PORT", path))
				defer first.kill(t)
				first.says(t, "ready")
				saw(begin + ", " + end)
			}
			leader := p.spawn(t, strings.ReplaceAll(tt.script, "$PORT", path))
			defer leader.kill(t)
			saw(tt.want)
		})
	}
}

// TestKilledOpenPaysNothing: an open whose program was killed while it waited takes nothing from what the next one waits for.
func TestKilledOpenPaysNothing(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newBridge(t, h, path, 50*time.Millisecond, uart.Unsent{}) // no session
	has := returns(t, b.opens(t, p, path))
	p.spawn(t, "stty -F "+path+" -clocal").says(t, "")
	killed := p.spawn(t, "exec 3<>"+path)
	eventually(t, "the shell's open waits", func() bool { return run.Waits(b.Port) == 1 })
	killed.kill(t)
	p.spawn(t, "stty -F "+path+" clocal").says(t, "")
	if _, err := has.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	_ = has.Close()
	eventually(t, "the dead open is forgotten", func() bool { return run.Waits(b.Port) == 0 })
	b.says(uart.Unsent{Left: time.Hour, Up: true})
	next := b.opens(t, p, path)
	b.waits(t, next)
	time.Sleep(100 * time.Millisecond)
	b.waits(t, next)
	b.takes()
	b.says(uart.Unsent{Up: true})
	_ = returns(t, next).Close()
}

// TestOthersProlongNoWait: an open waits no longer, for the session or for the last visit's bytes, where a program that was not
// started here looks at the port again and again.
func TestOthersProlongNoWait(t *testing.T) {
	run.Patience(t, time.Second)
	for _, tt := range []struct {
		name string
		wait time.Duration
		says uart.Unsent
	}{
		{"for the session", 500 * time.Millisecond, uart.Unsent{}},
		{"for bytes", 10 * testenv.Patience, uart.Unsent{Up: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			p := programs{puppet(t, h)}
			path := uarttest.TTY{}.Path(t)
			b := newBridge(t, h, path, tt.wait, tt.says)
			if tt.says.Up {
				b.takes()
				first := returns(t, b.opens(t, p, path))
				if _, err := first.Write([]byte("12345")); err != nil {
					t.Fatal(err)
				}
				b.says(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true})
				_ = first.Close()
			}
			waits := b.opens(t, p, path)
			eventually(t, "the open waits", b.wasAsked)
			for n := 0; len(waits) == 0; n++ {
				if n == 200 { // 6 seconds at least
					t.Fatal("the open does not return")
				}
				f := outside(t, path)
				time.Sleep(20 * time.Millisecond)
				_ = f.Close()
				time.Sleep(10 * time.Millisecond)
			}
			_ = (<-waits).Close()
		})
	}
}
