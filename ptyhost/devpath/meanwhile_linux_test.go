package devpath_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
)

// What may be at a path by the time the watcher of a dead agent removes its link.

// An agent that has claimed the path before the watcher's sweep keeps it, even if its link has the same text.
func TestTakenMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tty0")
	h := startHolder(t, dir, 1, "/dev/null")
	h.stop()
	h.kill()
	c, err := devpath.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Release() }()
	if err := c.Link("/dev/null", -1); err != nil {
		t.Fatal(err)
	}
	h.goOn()
	if text, err := os.Readlink(path); err != nil || text != "/dev/./null" {
		t.Errorf("the new agent's link: %q, %v", text, err)
	}
	if left := names(t, dir); len(left) != 2 {
		t.Errorf("left: %q, want the new agent's link and lock", left)
	}
	if _, err := devpath.Take(path); err == nil {
		t.Error("the new agent's path could be taken")
	}
}

// An agent that has taken the lock before the sweep may be killed before it replaces the dead one's link: the watcher
// still removes the link, and until then no other pty gets its number.
func TestLockTakenMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tty0")
	h := startHolder(t, dir, 1, "")
	device, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	h.stop()
	h.kill()
	lock, err := os.OpenFile(filepath.Join(dir, ".tty0.telnetcpc"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_ = unix.Kill(h.watcher, unix.SIGCONT)
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // longer than the number is kept
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		name := slave.Name()
		_ = slave.Close()
		_ = master.Close()
		if name == device {
			t.Fatalf("another pty is %s while the link leads there", device)
		}
	}
	_ = lock.Close()
	h.until("nothing is left", func() bool { return len(names(t, dir)) == 0 })
}

func TestForeignMeanwhile(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"file":         func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) },
		"another link": func(path string) error { return os.Symlink("/dev/pts/./1000000", path) },
		"nothing":      func(string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "tty0")
			h := startHolder(t, dir, 1, "")
			h.stop()
			h.kill()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			h.goOn()
			after, _ := os.Lstat(path)
			if (before == nil) != (after == nil) || before != nil && !os.SameFile(before, after) {
				t.Errorf("at the path: %v, before %v", after, before)
			}
			if _, err := os.Lstat(filepath.Join(dir, ".tty0.telnetcpc")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the lock is left: %v", err)
			}
		})
	}
}

// An agent that starts while the previous one dies, or while its watcher works, waits for that.
func TestTakeWaits(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tty0")
	for range 20 {
		h := startHolder(t, dir, 1, "/dev/null")
		_ = h.Process.Kill() // which takes a while
		c, err := devpath.Take(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Link("/dev/null", -1); err != nil {
			t.Fatal(err)
		}
		_ = h.Wait()
		h.until("the watcher has ended", h.ended)
		if _, err := os.Readlink(path); err != nil {
			t.Fatalf("the new agent's link: %v", err)
		}
		if err := c.Release(); err != nil {
			t.Fatal(err)
		}
	}
}
