//go:build amd64 || arm64

package run_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
)

// TestSerialOfRoot: what TIOCSSERIAL accepts from a privileged program.
func TestSerialOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		skip(t, "only root has privileged programs")
	}
	c := newLocalPort(t, uart.PortConfig{})
	c.waitOK(t, c.start(t, "serial"))
}

// TestMemoryThatWaits: a call whose memory is not present does not block any other call on the port.
func TestMemoryThatWaits(t *testing.T) {
	t.Parallel()
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		skip(t, fmt.Sprintf("page faults cannot be delayed here: userfaultfd: %v", errno))
	}
	_ = unix.Close(int(fd))
	c := newLocalPort(t, uart.PortConfig{})
	c.waitOK(t, c.start(t, "faults"))
}

// TestSttyOfAnother: a program that was not started by the host switches the pty to canonical mode. The next tcsetattr
// of a program of the host sets it back, even if it repeats its last settings.
func TestSttyOfAnother(t *testing.T) {
	_, programs, path := newPort(t)
	program, err := programs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	sets := func() {
		t.Helper()
		if err := program.Set(uart.Event{Coding: uart.Coding{Baud: 9600}}); err != nil {
			t.Fatal(err)
		}
	}
	sets()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	is, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		t.Fatal(err)
	}
	raw := *is
	is.Lflag |= unix.ICANON | unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS2, is); err != nil {
		t.Fatal(err)
	}
	sets()
	if is, err = unix.IoctlGetTermios(fd, unix.TCGETS2); err != nil || *is != raw {
		t.Errorf("the pty is %+v, %v; want %+v", is, err, raw)
	}
}

// TestExclusiveOfAnother: TIOCEXCL of a program that was not started by the host keeps others out while that program
// has the port open, and no longer.
func TestExclusiveOfAnother(t *testing.T) {
	address, _ := startServer(t, "loopback")
	path := filepath.Join(scratchDir(t), "ttyV0")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := startTelnetcpcStdin(t, r, "ready\n", "--port", path, address, "--", "sh", "-c",
		`echo ready; while read x; do if exec 3<>"$TELNETCPC_PORT"; then echo opened; exec 3>&-; fi; done; test -c "$TELNETCPC_PORT"`)
	_ = r.Close()
	for i := range 3 {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
		_, _ = w.WriteString("open it\n")
		eventually(t, "the program has the port", func() bool { return strings.Count(s.out.String(), "opened\n") == i+1 || isGone(path) })
	}
	_ = w.Close()
	if status := s.waitExit(t); status != 0 {
		t.Errorf("status %d: %s%s", status, s.out.String(), s.errs.String())
	}
}

// TestBytesOfAnotherFollowItsOpen: what a program that was not started by the host writes comes after its open.
func TestBytesOfAnotherFollowItsOpen(t *testing.T) {
	c := newLocalPort(t, uart.PortConfig{})
	for i := range 100 {
		fd, err := unix.Open(c.path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = unix.Write(fd, []byte("x"))
		_ = unix.Close(fd)
		var seen strings.Builder
		for closed := false; !closed; {
			p, e, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind != uart.KindData {
				p = []byte(e.String())
			}
			fmt.Fprintf(&seen, "%s, ", p)
			closed = e.Kind == uart.KindClosed
		}
		if want := "opened, settings DTR on RTS on, x, settings DTR off RTS off, closed, "; seen.String() != want {
			t.Fatalf("round %d: %s; want %s", i, seen.String(), want)
		}
	}
}
