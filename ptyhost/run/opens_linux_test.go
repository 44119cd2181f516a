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

// An open that waits does not count as having the port open, like one that waits in a serial driver: it does not delay
// a last close.

// TestKilledOpenHidesNoClose: nor does one whose program was killed while it waited, which the kernel does not report.
func TestKilledOpenHidesNoClose(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newFakeBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Up: true})
	b.takeAll()
	leaves := func(o uarttest.Program) {
		t.Helper()
		if _, err := o.Write([]byte("12345")); err != nil {
			t.Fatal(err)
		}
		b.setUnsent(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true})
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	leaves(mustReturn(t, b.startOpen(t, p, path)))
	killed := p.spawn(t, "exec 3<>"+path)
	eventually(t, "the shell's open waits", b.wasAsked)
	b.setUnsent(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true})
	again := b.startOpen(t, p, path)
	b.mustWait(t, again)
	killed.kill(t)
	b.setUnsent(uart.Unsent{Up: true})
	leaves(mustReturn(t, again))

	last := b.startOpen(t, p, path)
	b.mustWait(t, last)
	b.setUnsent(uart.Unsent{Up: true})
	_ = mustReturn(t, last).Close()
}

// TestTerminalHidesNoClose: no descriptor is held for an open that the kernel has performed, because it makes the port
// the program's controlling terminal, after the program has closed it.
func TestTerminalHidesNoClose(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newFakeBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Left: time.Hour, Bytes: 5, Up: true})
	b.takeAll()
	leader := p.spawn(t, "exec 3<>"+path+"; true </dev/tty && echo terminal; printf 12345 >&3; exec 3>&-; echo closed; exec tail -f /dev/null")
	if out := leader.readUntil(t, "closed"); out != "terminal\nclosed\n" {
		t.Errorf("the port's open made no controlling terminal: %s", out)
	}
	b.setUnsent(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true}) // the leader's open has called Unsent, too
	next := b.startOpen(t, p, path)
	b.mustWait(t, next)
	b.setUnsent(uart.Unsent{Up: true})
	_ = mustReturn(t, next).Close()
	leader.kill(t)
}

// firstOpenEvents and lastCloseEvents are the events of a first open and of a last close.
const firstOpenEvents, lastCloseEvents = "opened, settings DTR on RTS on", "settings DTR off RTS off, closed"

// follow records everything that the programs do. saw waits until that is want, since its last call.
func (b *fakeBridge) follow(t *testing.T) (saw func(want string)) {
	t.Helper()
	var mu sync.Mutex // guards seen
	var seen []string
	b.takeAllTo(func(data []byte, e uart.Event) {
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

// newCarrierPort makes a port whose opens wait for the carrier, and records what programs do.
func newCarrierPort(t *testing.T) (p programs, path string, b *fakeBridge, saw func(want string)) {
	t.Helper()
	h := newHost(t)
	p = programs{puppet(t, h)}
	path = uarttest.TTY{}.Path(t)
	b = newFakeBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Up: true})
	saw = b.follow(t)
	p.spawn(t, "stty -F "+path+" -clocal").readUntil(t, "")
	saw(firstOpenEvents + ", settings 9600 8N1 none, " + lastCloseEvents)
	return p, path, b, saw
}

// openOutside opens the port in this test, which is a program that was not started by the host.
func openOutside(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestCarrierHidesNoClose: what an open that waits for the carrier sees of other programs is as in a serial driver: the
// last close drops DTR and RTS, and the waiting open raises them again. It reads what was received meanwhile.
func TestCarrierHidesNoClose(t *testing.T) {
	p, path, b, saw := newCarrierPort(t)

	waits := p.spawn(t, "head -c 5 "+path)
	saw(firstOpenEvents)
	p.spawn(t, "stty -F "+path+" speed").readUntil(t, "") // its open does not wait for the carrier
	saw(lastCloseEvents + ", " + firstOpenEvents)
	for _, word := range []string{"HEL", "LO"} {
		if n, err := b.Write([]byte(word)); n != len(word) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := b.SetModem(uart.DCD); err != nil {
		t.Fatal(err)
	}
	if out := waits.readUntil(t, ""); out != "HELLO" {
		t.Errorf("it read %q", out)
	}
	saw(lastCloseEvents)
}

// TestBreakForAnOpenThatWaits: a break that arrives while an open waits is read in its place.
func TestBreakForAnOpenThatWaits(t *testing.T) {
	p, path, b, saw := newCarrierPort(t)
	p.spawn(t, "stty -F "+path+" parmrk -ignbrk -brkint").readUntil(t, "")
	saw(firstOpenEvents + ", settings 9600 8N1 none, " + lastCloseEvents)
	waits := p.spawn(t, "head -c 5 "+path)
	saw(firstOpenEvents)
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
	if out := waits.readUntil(t, ""); out != "A\xff\x00\x00B" {
		t.Errorf("it read %q", out)
	}
}

// TestHangupWhileAnOpenWaits: an open that waits when DCD falls starts over, on the port's next pty. Bytes kept for it
// are lost with the old one.
func TestHangupWhileAnOpenWaits(t *testing.T) {
	p, path, b, saw := newCarrierPort(t)
	p.spawn(t, nonblockingWrite(path, 5)).readUntil(t, "wrote")
	saw(firstOpenEvents + ", \x00\x00\x00\x00\x00, " + lastCloseEvents)
	b.setUnsent(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true}) // so it waits even with a carrier
	waits := p.spawn(t, "head -c 5 "+path)
	saw(firstOpenEvents)
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
	saw(lastCloseEvents + ", " + firstOpenEvents)
	if b.Name() == before {
		t.Errorf("the port has not been hung up")
	}
	b.setUnsent(uart.Unsent{Up: true})
	if err := b.SetModem(uart.DCD); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Write([]byte("HELLO")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if out := waits.readUntil(t, ""); out != "HELLO" {
		t.Errorf("it read %q", out)
	}
	saw(lastCloseEvents)
}

// TestCloseWhileAnOpenWaits: Close answers an open that waits, and a Write that waits for that open.
func TestCloseWhileAnOpenWaits(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newFakeBridge(t, h, path, 10*testenv.Patience, uart.Unsent{}) // no session
	waits := p.spawn(t, "cat "+path)
	eventually(t, "its open waits", func() bool { return run.Waits(b.Port) == 1 })
	wrote := make(chan error, 1)
	go func() {
		_, err := b.Write(make([]byte, 64<<10))
		wrote <- err
	}()
	select {
	case err := <-wrote:
		t.Fatalf("the write has returned although there is no room: %v", err)
	case <-time.After(50 * time.Millisecond): // enough to return
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; !errors.Is(err, uart.ErrClosed) {
		t.Errorf("the write: %v", err)
	}
	if out := waits.readUntil(t, ""); !strings.Contains(out, "No such file or directory") {
		t.Errorf("it printed %q", out)
	}
}

// nonblockingWrite is a shell command that opens the port without waiting for the carrier, writes size zeros, and
// prints "wrote".
func nonblockingWrite(path string, size int) string {
	return fmt.Sprintf("dd if=/dev/zero of=%s bs=%d count=1 oflag=nonblock conv=nocreat,notrunc 2>&1 && echo wrote", path, size)
}

// TestBytesWaitForTheOpen: what the device sends as the session begins, however much, is for the program whose open has
// waited for the session. Only if all opens wait for the carrier, what exceeds the buffer is dropped, and counted: the
// carrier may come after it.
func TestBytesWaitForTheOpen(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newFakeBridge(t, h, path, 10*testenv.Patience, uart.Unsent{})
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
	b.takeAll()
	wrote := make(chan error, 1)
	go func() { // ends when the port is closed
		n, err := b.Write(text)
		if err == nil && n != len(text) {
			err = fmt.Errorf("%d bytes of %d", n, len(text))
		}
		wrote <- err
	}()
	select {
	case err := <-wrote:
		t.Errorf("the write has returned although there is no room: %v", err)
	case <-time.After(50 * time.Millisecond): // enough to return
	}
	ready(nil)
	if out := reads.readUntil(t, ""); out != string(text) {
		t.Errorf("%d bytes arrived of %d", len(out), len(text))
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}

	p.spawn(t, "stty -F "+path+" -clocal").readUntil(t, "")
	reads = p.spawn(t, "head -c 5 "+path)
	eventually(t, "the port takes no more", func() bool {
		n, err := b.Write(text)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0 && n < len(text) // 0 if nobody has it open
	})
	if err := b.SetModem(uart.DCD); err != nil {
		t.Fatal(err)
	}
	if out := reads.readUntil(t, ""); out != string(text[:5]) {
		t.Errorf("it read %q", out)
	}
}

// TestOutsideWhileAnOpenWaits: what a program that was not started by the host does meanwhile is noticed as usual,
// though its bytes may be taken before its open is reported. What was received before its open comes before what is
// received later.
func TestOutsideWhileAnOpenWaits(t *testing.T) {
	p, path, b, saw := newCarrierPort(t)
	waits := p.spawn(t, "head -c 5 "+path)
	saw(firstOpenEvents)
	for range 20 { // about half of them are noticed in time
		f := openOutside(t, path)
		if _, err := f.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		saw("x, " + lastCloseEvents + ", " + firstOpenEvents)
	}

	if _, err := b.Write([]byte("HEL")); err != nil {
		t.Fatal(err)
	}
	f := openOutside(t, path)
	defer f.Close()
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	saw("x") // so its open was noticed
	if _, err := b.Write([]byte("LO")); err != nil {
		t.Fatal(err)
	}
	if err := b.SetModem(uart.DCD); err != nil {
		t.Fatal(err)
	}
	if out := waits.readUntil(t, ""); out != "HELLO" {
		t.Errorf("it read %q", out)
	}
}

// TestWaitingOpenMakesNoRoom: while an open waits for the carrier, programs that open, write and close are held back as
// usual when nobody takes their bytes. See TestOpenWaitsForRoom.
func TestWaitingOpenMakesNoRoom(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newFakeBridge(t, h, path, 0, uart.Unsent{})
	p.spawn(t, "stty -F "+path+" -clocal").readUntil(t, "")
	_ = p.spawn(t, "exec 3<>"+path) // ends with the port
	eventually(t, "the shell's open waits", func() bool { return run.Waits(b.Port) == 1 })
	const rounds, size = 20, 8 << 10
	came, over := make(chan bool, rounds), make(chan bool)
	go func() {
		defer close(over)
		for range rounds {
			p.spawn(t, nonblockingWrite(path, size)).readUntil(t, "wrote")
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
			quiet = n*size >= ordered.Limit // else the machine is just slow
		case <-end:
			t.Errorf("an open has waited after %d bytes", n*size)
			quiet = true
		}
	}
	b.takeAll()
	<-over
}

// TestLeaderHidesNoClose: nor does a session leader that opens the port again and again, if the port does not become
// its controlling terminal, or no longer is it.
func TestLeaderHidesNoClose(t *testing.T) {
	const again = "import os, fcntl, termios, signal, time\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" +
		"for i in range(5):\n f = os.open('$PORT', os.O_RDWR)\n fcntl.ioctl(f, termios.TIOCNOTTY)\n os.close(f)\n"
	for _, tt := range []struct{ name, first, script, want string }{
		{"only writes", "", "printf 1 >$PORT; printf 2 >$PORT; while :; do :; done",
			firstOpenEvents + ", 1, " + lastCloseEvents + ", " + firstOpenEvents + ", 2, " + lastCloseEvents},
		{"another's", "exec 3<>$PORT; exec 3>&-; echo ready; exec tail -f /dev/null", ": <>$PORT; : <>$PORT; while :; do :; done",
			firstOpenEvents + ", " + lastCloseEvents + ", " + firstOpenEvents + ", " + lastCloseEvents},
		{"given up", "", `exec /usr/bin/python3 -c "` + again + `time.sleep(600)"`,
			strings.Repeat(firstOpenEvents+", "+lastCloseEvents+", ", 4) + firstOpenEvents + ", " + lastCloseEvents},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			p := programs{puppet(t, h)}
			path := uarttest.TTY{}.Path(t)
			b := newFakeBridge(t, h, path, 10*testenv.Patience, uart.Unsent{Up: true})
			saw := b.follow(t)
			if tt.first != "" {
				first := p.spawn(t, strings.ReplaceAll(tt.first, "$PORT", path))
				defer first.kill(t)
				first.readUntil(t, "ready")
				saw(firstOpenEvents + ", " + lastCloseEvents)
			}
			leader := p.spawn(t, strings.ReplaceAll(tt.script, "$PORT", path))
			defer leader.kill(t)
			saw(tt.want)
		})
	}
}

// TestKilledOpenPaysNothing: an open whose program was killed while it waited does not shorten the wait of the next one.
func TestKilledOpenPaysNothing(t *testing.T) {
	h := newHost(t)
	p := programs{puppet(t, h)}
	path := uarttest.TTY{}.Path(t)
	b := newFakeBridge(t, h, path, 50*time.Millisecond, uart.Unsent{}) // no session
	has := mustReturn(t, b.startOpen(t, p, path))
	p.spawn(t, "stty -F "+path+" -clocal").readUntil(t, "")
	killed := p.spawn(t, "exec 3<>"+path)
	eventually(t, "the shell's open waits", func() bool { return run.Waits(b.Port) == 1 })
	killed.kill(t)
	p.spawn(t, "stty -F "+path+" clocal").readUntil(t, "")
	if _, err := has.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	_ = has.Close()
	eventually(t, "the dead open is forgotten", func() bool { return run.Waits(b.Port) == 0 })
	b.setUnsent(uart.Unsent{Left: time.Hour, Up: true})
	next := b.startOpen(t, p, path)
	b.mustWait(t, next)
	time.Sleep(100 * time.Millisecond)
	b.mustWait(t, next)
	b.takeAll()
	b.setUnsent(uart.Unsent{Up: true})
	_ = mustReturn(t, next).Close()
}

// TestOthersProlongNoWait: an open waits no longer, for the session or for the bytes before the last close, if a
// program that was not started by the host opens the port again and again.
func TestOthersProlongNoWait(t *testing.T) {
	run.Patience(t, time.Second)
	for _, tt := range []struct {
		name   string
		wait   time.Duration
		unsent uart.Unsent
	}{
		{"for the session", 500 * time.Millisecond, uart.Unsent{}},
		{"for bytes", 10 * testenv.Patience, uart.Unsent{Up: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			p := programs{puppet(t, h)}
			path := uarttest.TTY{}.Path(t)
			b := newFakeBridge(t, h, path, tt.wait, tt.unsent)
			if tt.unsent.Up {
				b.takeAll()
				first := mustReturn(t, b.startOpen(t, p, path))
				if _, err := first.Write([]byte("12345")); err != nil {
					t.Fatal(err)
				}
				b.setUnsent(uart.Unsent{Left: time.Hour, Bytes: 5, Up: true})
				_ = first.Close()
			}
			waits := b.startOpen(t, p, path)
			eventually(t, "the open waits", b.wasAsked)
			for n := 0; len(waits) == 0; n++ {
				if n == 200 { // 6 seconds at least
					t.Fatal("the open does not return")
				}
				f := openOutside(t, path)
				time.Sleep(20 * time.Millisecond)
				_ = f.Close()
				time.Sleep(10 * time.Millisecond)
			}
			_ = (<-waits).Close()
		})
	}
}
