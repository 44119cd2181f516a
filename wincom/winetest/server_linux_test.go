package winetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
)

// process is a program that the test has started; it is killed when the test ends.
type process struct {
	cmd  *exec.Cmd
	out  testenv.Output
	done chan struct{} // closed once it has exited
}

func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", strings.Join(cmd.Args, " "), p.out.String())
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// awaitOutput waits until the output contains text.
func (p *process) awaitOutput(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s prints %q", filepath.Base(p.cmd.Path), text), func() error {
		switch {
		case strings.Contains(p.out.String(), text):
			return nil
		case p.exited():
			t.Fatalf("it exited:\n%s", p.out.String())
		}
		return fmt.Errorf("its output:\n%s", p.out.String())
	})
}

// device is the device on an access server's serial port: the master of a pty.
type device struct {
	*os.File
	slave *os.File // kept open, so that the server may close and reopen it
}

func newDevice(t *testing.T) *device {
	t.Helper()
	// O_NONBLOCK, so that Close ends a read.
	open := func(path string) *os.File {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatalf("open %s: %v", path, err)
		}
		f := os.NewFile(uintptr(fd), path)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	master := open("/dev/ptmx")
	var n int
	control(t, master, func(fd int) (err error) {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	d := &device{master, open(fmt.Sprintf("/dev/pts/%d", n))}
	tio := d.termios(t)
	tio.Iflag, tio.Oflag, tio.Lflag = 0, 0, 0
	control(t, d.slave, func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS2, &tio) })
	return d
}

// control calls f with a file's descriptor.
func control(t *testing.T, file *os.File, f func(fd int) error) {
	t.Helper()
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil || err != nil {
		t.Fatalf("ioctl of %s: %v", file.Name(), errors.Join(cerr, err))
	}
}

func (d *device) termios(t *testing.T) (tio unix.Termios) {
	t.Helper()
	control(t, d.slave, func(fd int) error {
		now, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
		if err == nil {
			tio = *now
		}
		return err
	})
	return tio
}

// ser2net is a running ser2net with a device. It can be killed and started again on the same TCP port.
type ser2net struct {
	*process
	t       *testing.T
	address string
	config  string
	device  *device
}

func startSer2net(t *testing.T) *ser2net {
	t.Helper()
	path, err := find("ser2net", "/usr/sbin/ser2net")
	if err != nil {
		testenv.Skip(t, err, "(scripts/test installs it on Debian)")
	}
	s := &ser2net{t: t, device: newDevice(t), config: filepath.Join(t.TempDir(), "ser2net.yaml")}
	port := freePort(t)
	s.address = fmt.Sprintf("127.0.0.1:%d", port)
	text := fmt.Sprintf("connection: &port\n    accepter: telnet(rfc2217),tcp,127.0.0.1,%d\n    connector: serialdev,%s,9600n81,local\n",
		port, s.device.slave.Name())
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(path)
	return s
}

// start runs it and waits until it listens. It checks /proc, because ser2net would take a dialer for the client.
func (s *ser2net) start(path string) {
	s.t.Helper()
	s.process = start(s.t, exec.Command(path, "-n", "-d", "-c", s.config))
	_, port, _ := net.SplitHostPort(s.address)
	var n int
	_, _ = fmt.Sscan(port, &n)
	listening := fmt.Sprintf("0100007F:%04X 00000000:0000 0A", n) // TCP_LISTEN
	eventually(s.t, "ser2net listens", func() error {
		if s.exited() {
			s.t.Fatalf("ser2net exited:\n%s", s.out.String())
		}
		table, err := os.ReadFile("/proc/thread-self/net/tcp")
		if err == nil && !strings.Contains(string(table), listening) {
			err = fmt.Errorf("nothing listens on %s", s.address)
		}
		return err
	})
}

// freePort returns an unused TCP port below the kernel's range for clients.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(10000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no TCP port is free between 20000 and 30000")
	return 0
}
