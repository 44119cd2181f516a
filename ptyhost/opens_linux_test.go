package ptyhost_test

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost"
)

// A program opens and closes in a loop: every byte arrives, opens and closes alternate, Urgent reported each close, and at the
// end the port is closed.
func TestThousandOpens(t *testing.T) {
	b := listening(t)
	const opens = 1000
	for i := range opens {
		p := b.another()
		b.writes(p, strconv.Itoa(i)+" ")
		_ = p.Close()
	}
	b.endsClosed(func(s *tally) bool {
		return len(s.data) == 10*2+90*3+900*4
	}, opens)
}

// tally counts what Next has returned.
type tally struct {
	data          string
	opens, closes int
}

// endsClosed takes items until done reports that everything has come and the port is closed.
func (b *bench) endsClosed(done func(*tally) bool, mostOpens int) {
	b.Helper()
	var s tally
	for !done(&s) || s.opens == 0 || s.opens != s.closes || s.closes < b.urgentCloses() {
		i := b.take()
		switch i.event.Kind {
		case uart.KindOpened:
			s.opens++
		case uart.KindClosed:
			s.closes++
		default:
			s.data += i.data
		}
		if s.opens-s.closes != 0 && s.opens-s.closes != 1 || s.opens == s.closes && i.event.Kind == uart.KindData {
			b.Fatalf("got %v after %d opens and %d closes", i, s.opens, s.closes)
		}
	}
	if n := b.urgentCloses(); s.opens > mostOpens || n != s.closes {
		b.Errorf("got %d opens (want %d at most), %d closes, %d closes by Urgent", s.opens, mostOpens, s.closes, n)
	}
	b.Logf("%d opens reported", s.opens)
}

// Several programs open and close at once, so that opens hit probes at every point. At the end one stays: the port is open,
// and gives it bytes.
func TestOpensMeetProbes(t *testing.T) {
	b := listening(t)
	for round := range 20 {
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for range 20 {
					p, err := uarttest.OpenTTY(b.path)
					if err != nil {
						t.Error(err)
						return
					}
					if rand.IntN(2) == 0 {
						_, _ = p.Write([]byte{'.'})
					}
					_ = p.Close()
				}
			})
		}
		all.Wait()
		last := b.another()
		// Bytes from the device are dropped until the open is known, so the device repeats them.
		stop := make(chan struct{})
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = b.port.Write([]byte("x"))
				}
			}
		})
		if _, err := last.Read(make([]byte, 1)); err != nil {
			t.Errorf("round %d: the program that stayed reads: %v", round, err)
		}
		// A close by another program is not the last one.
		_ = b.another().Close()
		b.writes(last, "!")
		eventually(t, "the last program's byte", func() bool {
			for len(b.left()) > 0 {
				if i := b.take(); i.event.Kind == uart.KindData && i.data[len(i.data)-1] == '!' {
					return true
				}
			}
			return false
		})
		_ = last.Close()
		close(stop)
		all.Wait()
		b.want(uart.KindClosed)
	}
}

// The last close is reported although other closes came just before it, and none is while a program has the port open.
func TestLastOfManyCloses(t *testing.T) {
	b := listening(t)
	for range 50 {
		ps := []*uarttest.TTYProgram{b.program()}
		for range 4 {
			ps = append(ps, b.another())
		}
		var all sync.WaitGroup
		for _, p := range ps {
			all.Go(func() { _ = p.Close() })
		}
		all.Wait()
		b.want(uart.KindClosed)
	}
}

// Many ports use one inotify instance (a user may have 128) and one goroutine, and leave no descriptor open.
func TestManyPorts(t *testing.T) {
	before := openDescriptors(t)
	const many = 200
	dir := t.TempDir()
	var ports []uart.Port
	for i := range many {
		p, err := ptyhost.New().Open(context.Background(), uart.PortConfig{Path: filepath.Join(dir, strconv.Itoa(i))})
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p)
	}
	during := openDescriptors(t)
	if n := during["anon_inode:inotify"] - before["anon_inode:inotify"]; n != 1 {
		t.Errorf("inotify instances of %d ports: got %d, want 1", many, n)
	}
	t.Logf("descriptors of %d ports: %d", many, during["all"]-before["all"])
	for i, p := range ports {
		program, err := uarttest.OpenTTY(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		want := []uart.Kind{uart.KindOpened, uart.KindData, uart.KindClosed}
		_, _ = program.Write([]byte("x"))
		_ = program.Close()
		for _, kind := range want {
			if _, e, err := p.Next(); err != nil || e.Kind != kind {
				t.Fatalf("port %d: got %v, %v, want %v", i, e, err, kind)
			}
		}
	}
	for _, p := range ports {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if after := openDescriptors(t); after["all"] != before["all"] {
		t.Errorf("descriptors: got %v after all ports are closed, had %v", after, before)
	}
}

// An application that is killed in a write leaves a port that works: its bytes, its close, the next application.
func TestKilledInWrite(t *testing.T) {
	b := newBench(t)
	cmd := exec.Command("dd", "if=/dev/zero", "of="+b.path, "bs=1M", "count=1", "conv=notrunc,nocreat")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	for zeros := 0; zeros == 0; {
		data, _, err := b.port.Next()
		if err != nil {
			t.Fatal(err)
		}
		zeros += len(data)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for closed := false; !closed; {
		_, e, err := b.port.Next()
		if err != nil {
			t.Fatal(err)
		}
		closed = e.Kind == uart.KindClosed
	}
	p := b.another()
	b.writes(p, "the next one")
	got := ""
	for got != "the next one" {
		data, _, err := b.port.Next()
		if err != nil {
			t.Fatal(err)
		}
		got += string(data)
	}
}

// A program may take the port exclusively (TIOCEXCL) until it closes it: the kernel keeps the flag of a pty, and if we did
// not clear it, only root could ever open the port again. As root the test runs as a user without privileges.
func TestExclusiveEnds(t *testing.T) {
	if os.Getenv("PTYHOST_AS_NOBODY") == "" && os.Geteuid() == 0 {
		asNobody(t, "TestExclusiveEnds")
		return
	}
	b := listening(t)
	for range 20 {
		p := b.program()
		if err := p.Control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCEXCL, 0) }); err != nil {
			t.Fatal(err)
		}
		if _, err := uarttest.OpenTTY(b.path); err == nil {
			t.Fatal("a port that a program has exclusively could be opened")
		}
		// A close makes the port probe; the flag must survive that.
		b.writes(p, "x")
		b.bytes("x")
		_ = p.Close()
		b.want(uart.KindClosed)
		if i := b.left(); len(i) > 0 {
			t.Fatalf("got %v after the close", i)
		}
	}
}

// Output that ^S or tcflow had stopped at the last close does not stop the next program.
func TestStoppedOutputEnds(t *testing.T) {
	b := listening(t)
	for _, how := range []string{"tcflow", "^S"} {
		p := b.program()
		if how == "tcflow" {
			if err := p.Control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCXONC, unix.TCOOFF) }); err != nil {
				t.Fatal(err)
			}
		} else {
			b.set(p, func(t *unix.Termios) { t.Iflag |= unix.IXON })
			b.want(uart.KindSettings)
			if _, err := b.port.Write([]byte{0x13}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "^S stops the output", func() bool {
				return p.Control(func(fd int) error {
					_, err := unix.Write(fd, []byte("-"))
					return err
				}) == unix.EAGAIN
			})
		}
		_ = p.Close()
		b.want(uart.KindClosed)
		p = b.program()
		b.writes(p, how)
		b.bytes(how)
		_ = p.Close()
		b.want(uart.KindClosed)
	}
}

// vhangup, as getty calls it, hangs up every descriptor, our own slave too, and the kernel resets the pty's termios to its
// default, with echo. The port is closed; for the next program it is raw and works.
func TestVhangup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("TIOCVHANGUP needs root")
	}
	b := listening(t)
	for range 20 {
		p := b.program()
		b.set(p, func(t *unix.Termios) { t.Cflag ^= unix.CSTOPB })
		b.want(uart.KindSettings)
		if err := p.Control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCVHANGUP, 0) }); err != nil {
			t.Fatal(err)
		}
		_ = p.Close()
		b.skipSettings(uart.KindClosed)
		p = b.another()
		b.set(p, func(tio *unix.Termios) {
			if tio.Lflag != 0 || tio.Iflag != 0 || tio.Ospeed != 9600 {
				t.Errorf("after the hangup: got lflag %#x, iflag %#x, %d baud, want raw at 9600", tio.Lflag, tio.Iflag, tio.Ospeed)
			}
		})
		b.skipSettings(uart.KindOpened)
		b.writes(p, "after")
		b.skipSettings(uart.KindData)
		b.set(p, baud(115200))
		for {
			if i := b.take(); i.event.Coding.Baud == 115200 {
				break
			}
		}
		b.set(p, baud(9600))
		_ = p.Close()
		b.skipSettings(uart.KindClosed)
	}
}

// skipSettings takes items until one of the kind comes, with nothing but settings before it: those that the kernel
// sets for a moment.
func (b *bench) skipSettings(kind uart.Kind) {
	b.Helper()
	for {
		i := b.take()
		if i.event.Kind == kind {
			return
		}
		if i.event.Kind != uart.KindSettings {
			b.Fatalf("next: got %v, want %v", i, kind)
		}
	}
}

// loops puts a loopback plug on the port until it is closed; then it closes ended.
func (b *bench) loops() (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		for {
			p, _, err := b.port.Next()
			if err != nil {
				return
			}
			if _, err := b.port.Write(p); err != nil {
				return
			}
		}
	}()
	return ended
}

// A port may be closed at any of these moments: neither Next nor Write continues to wait for a program or for the
// watcher.
func TestCloseWhileReopening(t *testing.T) {
	for round := range often(200) {
		b := newBench(t)
		ended := b.loops()
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			for range round % 20 {
				runtime.Gosched()
			}
			_ = b.port.Close()
		}()
		for range 5 {
			fd, err := unix.Open(b.path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				break // it is gone
			}
			_, _ = unix.Write(fd, []byte("x"))
			_ = unix.Close(fd)
		}
		for _, c := range []chan struct{}{closed, ended} {
			select {
			case <-c:
			case <-time.After(testenv.Patience / 2):
				t.Fatalf("round %d: Next or Close does not return", round)
			}
		}
	}
}

// A program that closes the port, opens it again and writes at once gets its answer: its bytes may be read before its open is
// noticed, and the answer must not be dropped then.
func TestAnswerAfterReopening(t *testing.T) {
	b := newBench(t)
	ended := b.loops()
	t.Cleanup(func() { _ = b.port.Close(); <-ended })
	for i := range often(3000) {
		fd := opened(t, b.path)
		want := []byte{byte(i)}
		if _, err := unix.Write(fd, want); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 2)
		var n int
		var err error
		// The kernel sometimes returns EAGAIN though poll has found the byte; the next read gets it.
		for err = unix.EINTR; err == unix.EINTR || err == unix.EAGAIN; {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(testenv.Patience/2/time.Millisecond))
			if n == 1 {
				n, err = unix.Read(fd, got)
			}
		}
		if n != 1 || got[0] != want[0] {
			t.Fatalf("round %d: read % x, %v, want % x", i, got[:max(n, 0)], err, want)
		}
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
}

// Bytes that a program wrote before it closed the port do not count as an open by another program, however slowly they are
// read.
func TestBytesOfAClosedPortAreNoOpen(t *testing.T) {
	b := newBench(t)
	for range 20 {
		before := b.urgentCloses()
		fd := opened(t, b.path)
		b.nextIs(uart.KindOpened)
		left := fillUp(t, fd)
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
		for b.urgentCloses() == before {
			runtime.Gosched()
		}
		<-time.After(5 * time.Millisecond) // there is no event to wait for: the probe after a close comes 1 ms later
		for e := (uart.Event{}); e.Kind != uart.KindClosed; {
			p, next, err := b.port.Next()
			if err != nil || next.Kind != uart.KindData && next.Kind != uart.KindClosed {
				t.Fatalf("next: %v, %v", next, err)
			}
			left -= len(p)
			e = next
		}
		if left != 0 || b.urgentCloses() != before+1 {
			t.Fatalf("%d bytes are missing, Urgent reported %d closes, want 1", left, b.urgentCloses()-before)
		}
	}
}

// urgentCloses is how many closes Urgent has reported.
func (b *bench) urgentCloses() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closes
}

// The rest of a Write that waited on a full pty when its program closed the port does not reach the next program.
func TestRestOfAWriteIsNotTheNextPrograms(t *testing.T) {
	for round := range often(100) {
		b := listening(t)
		fd := opened(t, b.path)
		wrote := make(chan struct{})
		b.want(uart.KindOpened)
		go func() {
			defer close(wrote)
			_, _ = b.port.Write(make([]byte, 200<<10))
		}()
		for n := 0; n < 4095; { // as much as a tty keeps for its reader: the Write waits
			var err error
			if n, err = unix.IoctlGetInt(fd, unix.TIOCINQ); err != nil {
				t.Fatal(err)
			}
			runtime.Gosched()
		}
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
		for b.urgentCloses() == 0 {
			runtime.Gosched()
		}
		fd = opened(t, b.path)
		select {
		case <-wrote:
		case <-time.After(testenv.Patience / 2):
			t.Fatalf("round %d: the Write goes on into the next program", round)
		}
		if n, err := unix.Read(fd, make([]byte, 10)); err != unix.EAGAIN {
			t.Fatalf("round %d: the next program reads %d bytes, %v", round, n, err)
		}
		_ = unix.Close(fd)
		_ = b.port.Close()
	}
}
