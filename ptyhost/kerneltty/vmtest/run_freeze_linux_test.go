package vmtest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"telnetcpc/bridge/testenv"
)

// waits is a program that waits in two threads: for a modem line, and until its bytes are out. When its standard input ends, it
// changes the line until the change is noticed.
const waits = `
import fcntl, os, struct, sys, termios, threading, time
fd = os.open(os.environ["TELNETCPC_PORT"], os.O_RDWR | os.O_NOCTTY)
t = termios.tcgetattr(fd)
t[4] = t[5] = termios.B300
termios.tcsetattr(fd, termios.TCSANOW, t)
def line():
    fcntl.ioctl(fd, 0x545C, 0x20) # TIOCMIWAIT, CTS
    print("a line has changed", flush=True)
def drain():
    termios.tcdrain(fd)
    print("drained", flush=True)
bits = 0
while not bits & 0x20:
    bits, = struct.unpack("I", fcntl.ioctl(fd, termios.TIOCMGET, bytes(4)))
os.write(fd, b"U" * 300)
threads = [threading.Thread(target=f) for f in (line, drain)]
for t in threads:
    t.start()
time.sleep(1)
print("ready", flush=True)
sys.stdin.read()
on = False
while threads[0].is_alive():
    fcntl.ioctl(fd, termios.TIOCMBIS if on else termios.TIOCMBIC, struct.pack("I", termios.TIOCM_RTS))
    on = not on
    time.sleep(0.1)
`

// checkFrozenRun: the machine can go to sleep while a program waits in calls that telnetcpc run answers, and the calls go on
// after it. The kernel's own test of that freezes all processes, and no device.
func checkFrozenRun(t *testing.T) {
	serveLoopback(t, "127.0.0.1:3698")
	cmd := exec.Command(telnetcpc(), "run", "127.0.0.1:3698", "--", "/usr/bin/python3", "-c", waits)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := time.AfterFunc(2*testenv.Patience, func() { _ = cmd.Process.Kill() })
	defer over.Stop()
	said := bufio.NewReader(stdout)
	if text, err := said.ReadString('\n'); text != "ready\n" {
		t.Fatalf("the program says %q, %v", text, err)
	}
	for _, put := range []struct{ file, text string }{
		{"/sys/power/pm_test", "freezer"},
		{"/sys/module/suspend/parameters/pm_test_delay", "1"},
		{"/sys/power/pm_freeze_timeout", "10000"}, // ms; the kernel's own is 20 s
	} {
		if err := os.WriteFile(put.file, []byte(put.text), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("/sys/power/state", []byte("freeze"), 0); err != nil {
		t.Errorf("the machine does not go to sleep: %v", err)
	}
	if err := os.WriteFile("/sys/power/pm_test", []byte("none"), 0); err != nil {
		t.Error(err)
	}
	_ = stdin.Close()
	rest, _ := io.ReadAll(said)
	if err := cmd.Wait(); err != nil || strings.Count(string(rest), "\n") != 2 || !strings.Contains(string(rest), "a line has changed\n") || !strings.Contains(string(rest), "drained\n") {
		t.Errorf("the program ended with %v and said %q", err, rest)
	}
}
