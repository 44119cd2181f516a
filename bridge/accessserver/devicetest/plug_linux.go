package devicetest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// Plug is a serial port that is a pty, and the instrument at its other end. It can be unplugged and plugged in again under the same
// name.
type Plug struct {
	*os.File // the instrument's end
	t        *testing.T
	Name     string // of the port
}

// NewPlug plugs a port in until the test ends.
func NewPlug(t *testing.T) *Plug {
	t.Helper()
	p := &Plug{t: t, Name: filepath.Join(t.TempDir(), "ttyUSB0")}
	p.In()
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// In plugs it in.
func (p *Plug) In() {
	p.t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		p.t.Fatalf("open /dev/ptmx: %v", err)
	}
	p.File = os.NewFile(uintptr(fd), "instrument")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		p.t.Fatalf("TIOCSPTLCK: %v", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		p.t.Fatalf("TIOCGPTN: %v", err)
	}
	if err := os.Symlink(fmt.Sprintf("/dev/pts/%d", n), p.Name); err != nil {
		p.t.Fatal(err)
	}
}

// Out unplugs it: the port is hung up and its name removed.
func (p *Plug) Out() {
	p.t.Helper()
	if err := os.Remove(p.Name); err != nil {
		p.t.Fatal(err)
	}
	_ = p.Close()
}

// Termios returns the port's termios.
func (p *Plug) Termios() *unix.Termios {
	p.t.Helper()
	raw, err := p.SyscallConn()
	if err != nil {
		p.t.Fatal(err)
	}
	var tio *unix.Termios
	if outer := raw.Control(func(fd uintptr) { tio, err = unix.IoctlGetTermios(int(fd), unix.TCGETS2) }); outer != nil || err != nil {
		p.t.Fatalf("TCGETS2: %v, %v", outer, err)
	}
	return tio
}

// Send writes s as the instrument.
func (p *Plug) Send(s string) {
	p.t.Helper()
	_ = p.SetWriteDeadline(time.Now().Add(testenv.Patience))
	if _, err := p.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

// Hears reads at the instrument; want must come next.
func (p *Plug) Hears(want string) {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(testenv.Patience))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p, got); err != nil || string(got) != want {
		p.t.Fatalf("the instrument receives %q, %v, want %q", got[:n], err, want)
	}
}
