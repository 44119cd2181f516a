package interop

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// line is one end of a serial line, with its descriptor for ioctl: the port, opened by an application, or the device.
type line struct {
	*os.File
	fd int
}

func openLine(t *testing.T, path string) *line {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	l := &line{os.NewFile(uintptr(fd), path), fd}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// openPort opens the agent's port as an application does.
func openPort(t *testing.T, a *agent) *line {
	t.Helper()
	return openLine(t, a.path)
}

// termios is the part of a serial line's termios that a pty can show.
type termios struct {
	baud   uint32
	stop   int
	rtscts bool
	xon    bool
}

func (l *line) termios(t *testing.T) termios {
	t.Helper()
	tio, err := unix.IoctlGetTermios(l.fd, unix.TCGETS2)
	if err != nil {
		t.Fatalf("TCGETS2 of %s: %v", l.Name(), err)
	}
	got := termios{baud: tio.Ospeed, stop: 1, rtscts: tio.Cflag&unix.CRTSCTS != 0, xon: tio.Iflag&unix.IXON != 0}
	if tio.Cflag&unix.CSTOPB != 0 {
		got.stop = 2
	}
	return got
}

// set makes the line raw with the given settings, by one TCSETS2.
func (l *line) set(t *testing.T, want termios) {
	t.Helper()
	tio, err := unix.IoctlGetTermios(l.fd, unix.TCGETS2)
	if err != nil {
		t.Fatalf("TCGETS2 of %s: %v", l.Name(), err)
	}
	tio.Iflag, tio.Oflag, tio.Lflag = 0, 0, 0
	if want.xon {
		tio.Iflag = unix.IXON | unix.IXOFF
	}
	tio.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.HUPCL | unix.BOTHER
	if want.stop == 2 {
		tio.Cflag |= unix.CSTOPB
	}
	if want.rtscts {
		tio.Cflag |= unix.CRTSCTS
	}
	tio.Ispeed, tio.Ospeed = want.baud, want.baud
	if err := unix.IoctlSetTermios(l.fd, unix.TCSETS2, tio); err != nil {
		t.Fatalf("TCSETS2 of %s to %+v: %v", l.Name(), want, err)
	}
}

// device is the device at the access server's serial port.
type device struct {
	*line        // the master: what the device reads and writes
	slave *line  // kept open, so that the server may close and open it
	path  string // what the server opens
}

func newDevice(t *testing.T) *device {
	t.Helper()
	master := openLine(t, "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(master.fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatalf("TIOCSPTLCK: %v", err)
	}
	n, err := unix.IoctlGetInt(master.fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatalf("TIOCGPTN: %v", err)
	}
	path := fmt.Sprintf("/dev/pts/%d", n)
	d := &device{line: master, slave: openLine(t, path), path: path}
	d.slave.set(t, termios{baud: 300, stop: 1}) // settings that no test uses
	return d
}

// waiting returns how many bytes can be read at once.
func (l *line) waiting(t *testing.T) int {
	t.Helper()
	n, err := unix.IoctlGetInt(l.fd, unix.TIOCINQ)
	if err != nil {
		t.Fatalf("TIOCINQ: %v", err)
	}
	return n
}

// arrives waits until the device's termios is as wanted.
func (d *device) arrives(t *testing.T, want termios) {
	t.Helper()
	var got termios
	defer func() {
		if t.Failed() {
			t.Logf("the device has %+v, want %+v", got, want)
		}
	}()
	eventually(t, fmt.Sprintf("%+v at the device", want), func() bool {
		got = d.termios(t)
		return got == want
	})
}

// send writes p, and fails if nothing is taken for testenv.Patience.
func (l *line) send(p []byte) error { return l.sendPatiently(p, testenv.Patience) }

// sendPatiently writes p, and fails if nothing is taken for patience.
func (l *line) sendPatiently(p []byte, patience time.Duration) error {
	for done := 0; done < len(p); {
		_ = l.SetWriteDeadline(time.Now().Add(patience))
		n, err := l.Write(p[done:min(done+4096, len(p))])
		done += n
		if err != nil {
			return fmt.Errorf("write to %s after %d of %d bytes: %w", l.Name(), done, len(p), err)
		}
	}
	return nil
}

// expect reads until all of want has arrived, and fails at the first byte that differs.
func (l *line) expect(want []byte) error { return l.expectSlowly(want, 32*1024, 0) }

// expectSlowly is expect for a slow device: it reads at most size bytes at a time, with a pause after each read.
func (l *line) expectSlowly(want []byte, size int, pause time.Duration) error {
	buf := make([]byte, size)
	for done := 0; done < len(want); {
		_ = l.SetReadDeadline(time.Now().Add(testenv.Patience))
		n, err := l.Read(buf[:min(size, len(want)-done)])
		if got := buf[:n]; !bytes.Equal(got, want[done:done+n]) {
			i := 0
			for got[i] == want[done+i] {
				i++
			}
			end := min(i+16, n)
			return fmt.Errorf("%s: byte %d of %d differs: got % x, want % x", l.Name(), done+i, len(want), got[i:end], want[done+i:done+end])
		}
		done += n
		if err != nil {
			return fmt.Errorf("read from %s after %d of %d bytes: %w", l.Name(), done, len(want), err)
		}
		if pause > 0 {
			time.Sleep(pause) // the device's speed, nothing waits for it
		}
	}
	return nil
}

// rest reads what is left on the line after the last write. The kernel moves bytes in the background, so only silence shows
// the end.
func (l *line) rest(t *testing.T) []byte {
	t.Helper()
	var all []byte
	buf := make([]byte, 32*1024)
	for {
		_ = l.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := l.Read(buf)
		all = append(all, buf[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// exchange sends p from one line and expects it at the other.
func exchange(t *testing.T, from, to *line, p []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- from.send(p) }()
	if err := to.expect(p); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// both runs functions concurrently and reports each error.
func both(t *testing.T, fs ...func() error) {
	t.Helper()
	errs := make(chan error)
	for _, f := range fs {
		go func() { errs <- f() }()
	}
	failed := false
	for range fs {
		if err := <-errs; err != nil {
			t.Error(err)
			failed = true
		}
	}
	if failed {
		t.FailNow()
	}
}

// noise returns n bytes that do not repeat, the same in every run.
func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// awkward returns bytes that are hard for Telnet: every value beside every special one, long runs of 0xFF that end at every
// position of a buffer, CR with and without the byte that Telnet wants after it.
func awkward() []byte {
	var p []byte
	for v := range 256 {
		b := byte(v)
		p = append(p, b, 0xff, b, '\r', b, 0x00, b, '\n', b, 0x11, b, 0x13, b)
	}
	for n := 4090; n < 4102; n++ {
		p = append(append(p, bytes.Repeat([]byte{0xff}, n)...), 'x')
	}
	p = append(p, bytes.Repeat([]byte{0xff}, 70_001)...)
	p = append(p, bytes.Repeat([]byte("\r\n\r\x00\r"), 1000)...)
	p = append(p, "\xff\xfa\x2c\x01\x00\x00\x25\x80\xff\xf0"...) // SET-BAUDRATE, as data
	return append(p, bytes.Repeat([]byte{0xff, 0xf0, 0xff, 0xff, 0xfa}, 1000)...)
}
