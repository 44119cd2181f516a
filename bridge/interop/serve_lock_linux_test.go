package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"

	"telnetcpc/bridge/testenv"
)

// minicomOn starts minicom on a device, in a terminal of its own. minicom uses UUCP lock files.
func minicomOn(t *testing.T, path string) (p *process, screen *testenv.Output) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("minicom", "-D", path)
	cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C", "HOME="+t.TempDir())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	p = start(t, cmd)
	_ = slave.Close()
	screen = new(testenv.Output)
	read := make(chan struct{})
	go func() { // ends with minicom
		defer close(read)
		for buf := make([]byte, 4096); ; {
			n, err := master.Read(buf)
			if _, e := screen.Write(buf[:n]); err != nil || e != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		p.kill()
		<-read
		_ = master.Close()
	})
	return p, screen
}

// lockOf returns the process in a device's lock file, named as minicom does; 0 if there is none.
func lockOf(path string) (pid int) {
	text, err := os.ReadFile("/var/lock/LCK.." + strings.ReplaceAll(strings.TrimPrefix(path, "/dev/"), "/", "_"))
	if err != nil {
		return 0
	}
	_, _ = fmt.Sscan(string(text), &pid)
	return pid
}

// serve and minicom use a device in turn: the other's lock file shows each of them that it is in use, and by which process.
func TestServeDeviceLocked(t *testing.T) {
	t.Parallel()
	need(t, "minicom")
	if info, err := os.Stat("/var/lock"); err != nil || !info.IsDir() || os.Geteuid() != 0 {
		t.Skip("cannot make lock files in /var/lock")
	}
	d := newDevice(t)
	s := startServeDevice(t, d)
	a := attach(t, s.url(), "--linger", "0s")
	app := openPort(t, a)
	exchange(t, app, d.line, []byte("first"))
	if pid := lockOf(d.path); pid != s.process.cmd.Process.Pid {
		t.Errorf("the lock is of process %d, want the access server's, %d", pid, s.process.cmd.Process.Pid)
	}
	other, screen := minicomOn(t, d.path)
	eventually(t, "minicom has given up", other.ended)
	if shown := screen.String(); !strings.Contains(shown, "is locked") {
		t.Errorf("minicom shows %q, want that the device is locked", shown)
	}
	_ = app.Close()
	eventually(t, "the lock is released", func() bool { return lockOf(d.path) == 0 })

	other, _ = minicomOn(t, d.path)
	pid := other.cmd.Process.Pid
	eventually(t, "minicom has the device", func() bool { return lockOf(d.path) == pid })
	app = openPort(t, a)
	s.logs("in use by another program: minicom, process "+fmt.Sprint(pid), filepath.Base("LCK..pts_"+filepath.Base(d.path)))
	other.kill() // its lock file stays
	exchange(t, app, d.line, []byte("second"))
}
