package vmtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/ptyhost/logind/logindtest"
)

// crowd is how many agents start at once.
const crowd = 20

// complaints reads the kernel's log from now on: the lines of errors and worse.
type complaints struct {
	fd   int
	lost bool
}

func newComplaints(t *testing.T) *complaints {
	t.Helper()
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Seek(fd, 0, unix.SEEK_END)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &complaints{fd: fd}
}

// errors returns the kernel's lines of that level (printk's 3 and less) since the last call.
func (c *complaints) errors() (all []string) {
	record := make([]byte, 8192)
	for {
		n, err := unix.Read(c.fd, record)
		switch {
		case errors.Is(err, unix.EPIPE): // some are lost, that is older ones
			c.lost = true
			continue
		case err != nil || n <= 0:
			return all
		}
		head, text, _ := strings.Cut(string(record[:n]), ";")
		priority, _, _ := strings.Cut(head, ",")
		text, _, _ = strings.Cut(text, "\n") // what follows is where it comes from
		if level, err := strconv.Atoi(priority); err == nil && level&7 <= 3 {
			all = append(all, text)
		}
	}
}

// settings changes a port's settings some 250 times a second, until the port ends.
const settings = `
import sys, termios, time
f = open(sys.argv[1], "r+b", buffering=0)
t = termios.tcgetattr(f)
speeds = [termios.B1200, termios.B9600, termios.B115200]
n = 0
while True:
    n += 1
    t[4] = t[5] = speeds[n % 3]
    termios.tcsetattr(f, termios.TCSANOW, t)
    time.sleep(0.004)
`

// agent is a process with one port.
type agent struct {
	*exec.Cmd
	path string
	said bytes.Buffer
	done chan struct{} // closed when it has ended
}

// startAgent starts an agent, which ends with the check.
func startAgent(t *testing.T, path string) *agent {
	t.Helper()
	a := &agent{Cmd: exec.Command(telnetcpc(), "attach", "--host", "kernel", path, "127.0.0.1:1"), path: path, done: make(chan struct{})}
	a.Stdout, a.Stderr = &a.said, &a.said
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // until the agent ends
		_ = a.Wait()
		close(a.done)
	}()
	t.Cleanup(func() {
		_ = a.Process.Kill()
		<-a.done
	})
	return a
}

// serves waits until its port exists.
func (a *agent) serves(t *testing.T) {
	t.Helper()
	logindtest.Eventually(t, a.path+" is there", testenv.Patience, func() bool {
		select {
		case <-a.done:
			t.Fatalf("the agent of %s ended: %s", a.path, a.said.String())
		default:
		}
		return !gone(a.path)
	})
}

// startSettings starts programs that change settings all the time, and waits until they have the ports open.
func startSettings(t *testing.T, paths ...string) (programs []*exec.Cmd) {
	t.Helper()
	for _, path := range paths {
		cmd := exec.Command("python3", "-c", settings, path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		programs = append(programs, cmd)
	}
	logindtest.Eventually(t, "the programs have the ports open", testenv.Patience, func() bool {
		open := 0
		for _, cmd := range programs {
			fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", cmd.Process.Pid))
			for _, fd := range fds {
				if to, _ := os.Readlink(fd); strings.HasPrefix(to, "/dev/ttyUSB") {
					open++
				}
			}
		}
		return open == len(programs)
	})
	return programs
}

// checkCrowd: agents that start at once, each a process, get a port each, and the kernel logs no error. When they are killed,
// nothing of them is left, also while programs use their ports.
func checkCrowd(t *testing.T) {
	log, began := newComplaints(t), time.Now()
	dir := t.TempDir()
	agents := make([]*agent, crowd)
	for i := range agents {
		agents[i] = startAgent(t, portPath(dir, i))
	}
	for _, a := range agents {
		a.serves(t)
	}
	for _, line := range log.errors() {
		if strings.HasPrefix(line, "ftdi_sio ") { // which waits a second for an agent at most, and of Linux 5.10 misses GPIO lines
			t.Logf("the kernel logs while %d agents start: %s", crowd, line)
		} else {
			t.Errorf("the kernel logs while %d agents start: %s", crowd, line)
		}
	}
	if log.lost {
		t.Error("lines of the kernel's log are lost")
	}
	t.Logf("%d ports are there after %v", crowd, time.Since(began).Round(time.Millisecond))
	programs := startSettings(t, portPath(dir, 0), portPath(dir, 1), portPath(dir, 2), portPath(dir, 3))
	for _, a := range agents {
		_ = a.Process.Kill()
	}
	for _, cmd := range programs {
		_ = cmd.Wait() // its device is gone
	}
	logindtest.Eventually(t, "nothing is left of them", testenv.Patience, func() bool {
		left, _ := filepath.Glob("/sys/class/tty/ttyUSB*")
		devices, _ := filepath.Glob("/sys/devices/*/vhci_hcd.*/usb*/[0-9]*-[0-9]*/idVendor")
		nodes, _ := filepath.Glob("/dev/ttyUSB*")
		return len(left)+len(devices)+len(nodes) == 0
	})
	// Each call of a program on an adapter that was unplugged logs a line of vhci and one of the driver, until the kernel
	// has removed the device. The test outside finds faults of the kernel.
	if lines := log.errors(); len(lines) > 0 {
		t.Logf("after they were killed the kernel logged %d lines, the last of them: %s", len(lines), lines[len(lines)-1])
	}
}
