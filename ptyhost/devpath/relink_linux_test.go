package devpath_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/ptyhost/devpath"
)

// A program that opens the path during a Relink finds one device or the other.
func TestPathIsAlwaysThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	c, err := devpath.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	devices := []string{"/dev/pts/70001", "/dev/pts/70002"}
	if err := c.Link(devices[0], -1); err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	reads := make(chan int)
	go func() { // ends with over
		n := 0
		for ; !over.Load(); n++ {
			if _, err := os.Readlink(path); err != nil {
				t.Error(err)
				break
			}
		}
		reads <- n
	}()
	for i := range 5000 {
		if err := c.Relink(devices[(i+1)%2], -1); err != nil {
			t.Error(err)
			break
		}
	}
	over.Store(true)
	if n := <-reads; n == 0 {
		t.Error("the path was never read")
	}
	if err := c.Release(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// A file that has replaced the link stays.
func TestRelinkLeavesOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	c, err := devpath.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if err := c.Link("/dev/pts/70001", -1); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Relink("/dev/pts/70002", -1); err == nil {
		t.Error("no error, though the path does not lead to the device")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("the file has %q: %v", text, err)
	}
}

// If something else is at the path, the watcher closes its duplicate of the last master, so that closing the master hangs the
// pty up, and that of the new one. It does not open the new one's slave: that port would look open.
func TestRelinkFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	c, err := devpath.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	last, program, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	next, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	_ = slave.Close()
	if err := c.Link(program.Name(), int(last.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := c.Relink(slave.Name(), int(next.Fd())); err == nil {
		t.Fatal("the file is replaced")
	}
	_ = last.Close()
	hungUp := func(f *os.File, patience time.Duration) bool {
		p := []unix.PollFd{{Fd: int32(f.Fd())}}
		for end := time.Now().Add(patience); ; {
			if _, err := unix.Poll(p, int(time.Until(end).Milliseconds())); err != unix.EINTR {
				return p[0].Revents&unix.POLLHUP != 0
			}
		}
	}
	if !hungUp(program, testenv.Patience) {
		t.Fatal("the last pty is not hung up")
	}
	if !hungUp(next, 0) {
		t.Error("the next one's slave is open")
	}
}

// An agent that was killed during a Relink: the next one removes what it left.
func TestKilledWhileRelinking(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	left := filepath.Join(filepath.Dir(path), ".ttyV0.telnetcpc.new")
	for name, text := range map[string]string{path: "/dev/pts/./70001", left: "/dev/pts/./70002"} {
		if err := os.Symlink(text, name); err != nil {
			t.Fatal(err)
		}
	}
	c, err := devpath.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, left} {
		if _, err := os.Lstat(name); err == nil {
			t.Errorf("%s is there still", name)
		}
	}
	if err := c.Release(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}
