package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"

	"telnetcpc/bridge/uart/uarttest"
)

// minicomOn starts minicom on a device, in a terminal of its own; it takes UUCP lock files.
func minicomOn(t *testing.T, path string) (p *process, screen *uarttest.Output) {
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
	screen = new(uarttest.Output)
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

// lockOf is the process that has a device's lock file, as minicom names it; 0: there is none.
func lockOf(path string) (pid int) {
	text, err := os.ReadFile("/var/lock/LCK.." + strings.ReplaceAll(strings.TrimPrefix(path, "/dev/"), "/", "_"))
	if err != nil {
		return 0
	}
	_, _ = fmt.Sscan(string(text), &pid)
	return pid
}

// serve and minicom have a device in turn: each is told by the other's lock file that it is in use, and whose it is.
func TestServeDeviceLocked(t *testing.T) {
	t.Parallel()
	need(t, "minicom")
	if info, err := os.Stat("/var/lock"); err != nil || !info.IsDir() || os.Geteuid() != 0 {
		t.Skip("no lock files can be made in /var/lock")
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
	if said := screen.String(); !strings.Contains(said, "is locked") {
		t.Errorf("minicom says %q", said)
	}
	_ = app.Close()
	eventually(t, "the lock is given back", func() bool { return lockOf(d.path) == 0 })

	other, _ = minicomOn(t, d.path)
	pid := other.cmd.Process.Pid
	eventually(t, "minicom has the device", func() bool { return lockOf(d.path) == pid })
	app = openPort(t, a)
	s.says("in use by another program: minicom, process "+fmt.Sprint(pid), filepath.Base("LCK..pts_"+filepath.Base(d.path)))
	other.kill() // which leaves its lock
	exchange(t, app, d.line, []byte("second"))
}
