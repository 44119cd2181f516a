package devpath_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/ptyhost/devpath"
)

// holderName makes this test's binary a process that has ports: holderName DIR COUNT DEVICE.
const holderName = "devpath-test-holder"

func TestMain(m *testing.M) {
	devpath.Main()
	if len(os.Args) == 4 && os.Args[0] == holderName {
		hold(os.Args[1], os.Args[2], os.Args[3])
	}
	status := m.Run()
	devpath.Stop()
	os.Exit(status)
}

// hold makes links in a directory, prints "ready", and waits to be killed. Without a device each leads to a pty of its own.
func hold(dir, count, device string) {
	n, err := strconv.Atoi(count)
	for i := 0; i < n && err == nil; i++ {
		var c *devpath.Claim
		if c, err = devpath.Take(filepath.Join(dir, fmt.Sprintf("tty%d", i))); err != nil {
			break
		}
		if device != "" {
			err = c.Link(device, -1)
			continue
		}
		master, slave, e := pty.Open()
		if err = e; err == nil {
			err = c.Link(slave.Name(), int(master.Fd()))
			_ = slave.Close()
		}
	}
	fmt.Println("ready", err)
	select {}
}

// holder is a process with ports, and its watcher.
type holder struct {
	*exec.Cmd
	t       *testing.T
	dir     string
	watcher int
}

func startHolder(t *testing.T, dir string, count int, device string) *holder {
	t.Helper()
	h := &holder{Cmd: exec.Command("/proc/self/exe", dir, strconv.Itoa(count), device), t: t, dir: dir}
	h.Args[0] = holderName
	h.Stderr = os.Stderr
	out, err := h.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Process.Kill(); _ = h.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready <nil>\n" {
		t.Fatalf("the holder prints %q, %v", line, err)
	}
	h.until("there is a watcher", func() bool { h.find(); return h.watcher != 0 })
	t.Cleanup(func() { _ = unix.Kill(h.watcher, unix.SIGCONT) })
	return h
}

// find finds the watcher.
func (h *holder) find() {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && string(line) == fmt.Sprintf("telnetcpc: watcher\x00%d\x00", h.Process.Pid) {
			h.watcher, _ = strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
}

func (h *holder) until(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(testenv.Patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("not within %v: %s", testenv.Patience, what)
		}
	}
}

func (h *holder) kill() {
	_ = h.Process.Kill()
	_ = h.Wait()
}

// stop sends the watcher SIGSTOP, and returns when it has stopped.
func (h *holder) stop() {
	h.t.Helper()
	_ = unix.Kill(h.watcher, unix.SIGSTOP)
	h.until("the watcher has stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.watcher))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
}

func (h *holder) ended() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.watcher))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// goOn continues a stopped watcher, and waits until its work is done.
func (h *holder) goOn() {
	h.t.Helper()
	_ = unix.Kill(h.watcher, unix.SIGCONT)
	h.swept()
}

// swept waits until no lock is left (the watcher itself keeps the numbers a while longer), or until the watcher has ended
// (another agent's lock is there).
func (h *holder) swept() {
	h.t.Helper()
	h.until("the watcher has done its work", func() bool {
		locks, _ := filepath.Glob(filepath.Join(h.dir, ".*.telnetcpc"))
		return len(locks) == 0 || h.ended()
	})
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// One watcher has the links of many ports. When they are gone, programs that have a pty open are hung up.
func TestManyLinks(t *testing.T) {
	t.Run("its first watcher", func(t *testing.T) { manyLinks(t, func(*holder) {}) })
	t.Run("another watcher", func(t *testing.T) {
		manyLinks(t, func(h *holder) {
			_ = unix.Kill(h.watcher, unix.SIGKILL)
			last := h.watcher
			h.until("there is another watcher", func() bool { h.find(); return h.watcher != last })
			h.until("it has all links", func() bool {
				fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", h.watcher))
				masters := 0
				for _, fd := range fds {
					if file, err := os.Readlink(fd); err == nil && strings.HasSuffix(file, "ptmx") {
						masters++
					}
				}
				return masters == many
			})
		})
	})
}

// many is the number of links.
const many = 300

func manyLinks(t *testing.T, do func(*holder)) {
	dir := t.TempDir()
	h := startHolder(t, dir, many, "")
	app, err := os.OpenFile(filepath.Join(dir, "tty7"), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	if n := len(names(t, dir)); n != 2*many {
		t.Fatalf("%d files are there, want %d links and as many locks", n, many)
	}
	do(h)
	h.kill()
	h.swept()
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if n, err := app.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("the application has read %d bytes, %v; want the end", n, err)
	}
}

// From the agent's death to the end of its link no other pty gets the number, however long that takes.
func TestNumberIsKept(t *testing.T) {
	dir := t.TempDir()
	h := startHolder(t, dir, 1, "")
	device, err := filepath.EvalSymlinks(filepath.Join(dir, "tty0"))
	if err != nil {
		t.Fatal(err)
	}
	h.stop()
	h.kill()
	for range 100 {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer master.Close()
		defer slave.Close()
		if slave.Name() == device {
			t.Fatalf("another pty is %s while the link leads there", device)
		}
	}
	h.goOn()
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// After Release only the port has the master: closing it hangs the pty up. Soon after Relink, the same holds for the old one.
func TestMasterIsGivenBack(t *testing.T) {
	c, err := devpath.Take(filepath.Join(t.TempDir(), "tty0"))
	if err != nil {
		t.Fatal(err)
	}
	var last *os.File
	for i := range 3 {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer slave.Close()
		if i == 0 {
			err = c.Link(slave.Name(), int(master.Fd()))
		} else {
			err = c.Relink(slave.Name(), int(master.Fd()))
			_ = last.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			defer func() {
				if n, err := slave.Read(make([]byte, 1)); err == nil {
					t.Errorf("after Relink: read %d bytes, want the end", n)
				}
			}()
		} else if err := c.Release(); err != nil {
			t.Fatal(err)
		}
		last = master
		if i == 2 {
			_ = master.Close()
			p := []unix.PollFd{{Fd: int32(slave.Fd())}}
			if n, err := unix.Poll(p, 0); err != nil || n != 1 || p[0].Revents&unix.POLLHUP == 0 {
				t.Errorf("after Release and the master's end: %d, %v, %#x; want a hangup", n, err, p[0].Revents)
			}
		}
	}
}

func BenchmarkLink(b *testing.B) {
	c, err := devpath.Take(filepath.Join(b.TempDir(), "tty0"))
	if err != nil {
		b.Fatal(err)
	}
	master, slave, err := pty.Open()
	if err != nil {
		b.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	if err := c.Link(slave.Name(), int(master.Fd())); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := c.Relink(slave.Name(), int(master.Fd())); err != nil {
			b.Fatal(err)
		}
	}
	_ = c.Release()
}
