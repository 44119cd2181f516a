package ptyhost_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
)

// The traps of terminal/wait_linux.go and next_linux.go, each with a test that fails without its cure.

// often returns n, or fewer under the race detector.
func often(n int) int {
	if testenv.Race {
		return n / 5
	}
	return n
}

// slave opens the port by system calls alone, without Go's os package.
func slave(t *testing.T, path string) int {
	t.Helper()
	fd := opened(t, path)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// opened is slave for callers that close it themselves.
func opened(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// tcsetattr sets the baud rate by TCSETS2 (TCSANOW) or TCSETSW2 (TCSADRAIN).
func tcsetattr(t *testing.T, fd int, request uint, rate uint32) {
	t.Helper()
	tio, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err == nil {
		baud(rate)(tio)
		err = unix.IoctlSetTermios(fd, request, tio)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// nextIs calls Next and requires an event of the kind.
func (b *bench) nextIs(kind uart.Kind) uart.Event {
	b.Helper()
	_, e, err := b.port.Next()
	if err != nil || e.Kind != kind {
		b.Fatalf("next: got %v, %v, want %v", e, err, kind)
	}
	return e
}

// A byte up and a byte down allocate nothing.
func TestAllocates(t *testing.T) {
	b := newBench(t)
	fd := slave(t, b.path)
	b.nextIs(uart.KindOpened)
	p := []byte("x")
	n := testing.AllocsPerRun(1000, func() {
		if _, err := unix.Write(fd, p); err != nil {
			t.Fatal(err)
		}
		b.nextIs(uart.KindData)
		if n, err := b.port.Write(p); n != 1 || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
		for n := 0; n != 1; { // EAGAIN until the kernel has moved it
			n, _ = unix.Read(fd, p)
		}
	})
	t.Logf("%v allocations", n)
	if n != 0 && !testenv.Race {
		t.Errorf("%v allocations for a byte each way, want none", n)
	}
}

// A program that reads does not wake this process: neither a port that waits in Next, nor one whose Write has once waited for
// room. Each read raises EPOLLOUT, so asking for it all the time, or not disarming it, costs a wake-up for each.
func TestReadsWakeNobody(t *testing.T) {
	const reads = 100 // with more than 128 bytes to read the kernel wakes nobody anyway
	for _, tt := range []struct {
		name   string
		waited bool
	}{{"fresh", false}, {"after a write that waited", true}} {
		t.Run(tt.name, func(t *testing.T) {
			b := listening(t)
			fd := slave(t, b.path)
			b.want(uart.KindOpened)
			if tt.waited {
				waitInWrite(t, b, fd)
			}
			least := 1e9
			for range 10 { // other work in this process is noise that comes and goes
				if n, err := b.port.Write(make([]byte, reads)); n != reads || err != nil {
					t.Fatalf("write: %d, %v", n, err)
				}
				eventually(t, "what the port wrote", func() bool {
					n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
					return err == nil && n == reads
				})
				least = min(least, switchesPerRead(t, fd, reads))
			}
			t.Logf("%.3f switches a read", least)
			if least > 0.25 {
				t.Errorf("%.2f switches for each read of the program, want none", least)
			}
		})
	}
}

// switchesPerRead reads n bytes one by one, at the pace of a program that processes each, and returns how often the other
// threads of this process went to sleep meanwhile, per byte.
func switchesPerRead(t *testing.T, fd, n int) float64 {
	t.Helper()
	runtime.LockOSThread() // this thread's own switches are not counted
	defer runtime.UnlockOSThread()
	before := switches(t)
	for range n {
		if !readByte(fd) {
			t.Fatal("the program finds nothing to read")
		}
		for begun := time.Now(); time.Since(begun) < 200*time.Microsecond; {
		}
	}
	return float64(switches(t)-before) / float64(n)
}

// waitInWrite has the port write more than the pty takes, and the program read all of it.
func waitInWrite(t *testing.T, b *bench, fd int) {
	t.Helper()
	const total = 256 << 10
	done := make(chan error, 1)
	go func() {
		_, err := b.port.Write(make([]byte, total))
		done <- err
	}()
	buf := make([]byte, 4096)
	for n := 0; n < total; {
		m, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			runtime.Gosched()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// switches counts the voluntary context switches of the other threads of this process.
func switches(t *testing.T) (n int) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	self := fmt.Sprintf("/task/%d/", unix.Gettid())
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil || strings.Contains(task, self) {
			continue // it has ended, or it is this one
		}
		_, after, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(after, "\n")
		m, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	return n
}

// TCSADRAIN and TCSAFLUSH hold the tty's write lock themselves, so the kernel drops a notice now and then: the sweep finds
// the change.
func TestNoDrainingChangeIsLost(t *testing.T) {
	b := newBench(t)
	fd := slave(t, b.path)
	b.nextIs(uart.KindOpened)
	late := 0
	for i := range uint32(often(5000)) {
		begun := time.Now()
		tcsetattr(t, fd, unix.TCSETSW2, 1000+i)
		if e := b.nextIs(uart.KindSettings); e.Coding.Baud != 1000+i {
			t.Fatalf("got %v, want %d baud", e, 1000+i)
		}
		if time.Since(begun) > 100*time.Millisecond {
			late++
		}
	}
	t.Logf("%d of %d were found late, or by the sweep", late, often(5000))
}

// A change right before the last close is reported before it, whatever has woken Next.
func TestNoChangeBeforeACloseIsLost(t *testing.T) {
	b := listening(t)
	for i := range uint32(often(3000)) {
		fd := opened(t, b.path)
		b.want(uart.KindOpened)
		tcsetattr(t, fd, unix.TCSETS2, 1000+i)
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
		last := uart.Event{}
		for e := b.take().event; e.Kind != uart.KindClosed; e = b.take().event {
			last = e
		}
		if last.Coding.Baud != 1000+i {
			t.Fatalf("round %d: %v came before the close, want %d baud", i, last, 1000+i)
		}
	}
}

// A full pty does not announce a change: it is found when the bytes are read.
func TestNoChangeWhileFullIsLost(t *testing.T) {
	b := newBench(t)
	fd := slave(t, b.path)
	b.nextIs(uart.KindOpened)
	for i := range uint32(often(1000)) {
		total := fillUp(t, fd)
		tcsetattr(t, fd, unix.TCSETS2, 1000+i)
		for got, seen := 0, false; got < total || !seen; {
			p, e, err := b.port.Next()
			if err != nil {
				t.Fatal(err)
			}
			got += len(p)
			seen = seen || e.Coding.Baud == 1000+i
		}
	}
}

// fillUp writes until the pty takes no more for a while, and returns how much it took.
func fillUp(t *testing.T, fd int) (total int) {
	t.Helper()
	for refused := 0; refused < 10; {
		n, err := unix.Write(fd, make([]byte, 4096))
		switch {
		case n > 0:
			total, refused = total+n, 0
		case err == unix.EAGAIN:
			refused++
			runtime.Gosched() // the kernel moves bytes in the background, which makes room
		default:
			t.Fatal(err)
		}
	}
	return total
}

// A change on an idle port, without bytes, is reported at once: the median is logged, and the limit is far above noise.
func TestChangeIsReportedAtOnce(t *testing.T) {
	b := listening(t)
	fd := slave(t, b.path)
	b.want(uart.KindOpened)
	took := make([]time.Duration, often(1000))
	for i := range took {
		begun := time.Now()
		tcsetattr(t, fd, unix.TCSETS2, 1000+uint32(i))
		b.want(uart.KindSettings)
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	half := took[len(took)/2]
	t.Logf("half of the changes were reported within %v, 99 %% within %v", half, took[len(took)*99/100])
	if half > 50*time.Millisecond { // the sweep alone would take some 125
		t.Errorf("half of the changes took more than %v", half)
	}
}
