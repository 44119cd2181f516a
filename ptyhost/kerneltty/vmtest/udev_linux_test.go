package vmtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/uart/uarttest"
	"telnetcpc/ptyhost/kerneltty"
	"telnetcpc/ptyhost/logind/logindtest"
)

// rules is our file of rules for udev; the test outside has put it beside this binary.
const rules = "60-telnetcpc.rules"

// daemon starts a program that runs until the check ends.
func daemon(t *testing.T, name string, args ...string) *os.Process {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // what it has started may hold its output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGCONT)
		_ = cmd.Process.Signal(unix.SIGTERM)
		kill := time.AfterFunc(testenv.Patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		if t.Failed() {
			t.Logf("%s said: %s", filepath.Base(name), out.String())
		}
	})
	return cmd.Process
}

// startUdev starts udev, which ends with the check.
func startUdev(t *testing.T) *os.Process {
	t.Helper()
	const control = "/run/udev/control"
	_ = os.Remove(control) // of the one before
	p := daemon(t, "/lib/systemd/systemd-udevd")
	logindtest.Eventually(t, "udev runs", testenv.Patience, func() bool {
		_, err := os.Stat(control)
		return err == nil
	})
	return p
}

// udevadm runs udevadm(8), which must succeed.
func udevadm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("udevadm", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("udevadm %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// checkUdev: with a real udev, its link by serial number exists when Open returns, the port's owner and mode are the configured
// ones and stay so, and there is a warning of ModemManager unless our rules exclude the port. A program of that name plays
// ModemManager; what the real one would do is not tested.
func checkUdev(t *testing.T) {
	dir := t.TempDir()
	sleeper, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	modemManager := filepath.Join(dir, "ModemManager")
	if err := os.WriteFile(modemManager, sleeper, 0o700); err != nil {
		t.Fatal(err)
	}
	daemon(t, modemManager, "1000")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile(filepath.Join(filepath.Dir(self), rules))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("owner and mode are final", checkOwners)
	t.Run("who was there before", checkBefore)
	for _, ruled := range []bool{false, true} {
		t.Run(fmt.Sprintf("with our rules %v", ruled), func(t *testing.T) {
			if ruled {
				if err := os.MkdirAll("/etc/udev/rules.d", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join("/etc/udev/rules.d", rules), ours, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			startUdev(t)
			var log bytes.Buffer
			p, err := kerneltty.New().Open(context.Background(), uart.PortConfig{
				Path: filepath.Join(t.TempDir(), "ttyV0"), Owner: "65534", Group: "12345", Mode: 0o640,
				Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			link := "/dev/serial/by-id/usb-telnetcpc_telnetcpc_serial_port_ttyV0-if00-port0"
			if got, err := filepath.EvalSymlinks(link); err != nil || got != p.Name() {
				t.Errorf("%s leads to %q, %v, want %s", link, got, err, p.Name())
			}
			udevadm(t, "settle")
			var st unix.Stat_t
			if err := unix.Stat(p.Name(), &st); err != nil || fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode&0o777) != "65534:12345 640" {
				t.Errorf("when udev is done: %d:%d %o, %v", st.Uid, st.Gid, st.Mode&0o777, err)
			}
			port, err := filepath.EvalSymlinks("/sys/class/tty/" + filepath.Base(p.Name()) + "/device")
			if err != nil {
				t.Fatal(err)
			}
			for name, of := range map[string]string{
				"ID_MM_PORT_IGNORE=1":   p.Name(),
				"ID_MM_DEVICE_IGNORE=1": filepath.Dir(filepath.Dir(port)), // the USB device
			} {
				said := udevadm(t, "info", "--query=property", of)
				if got := strings.Contains(said, name+"\n"); got != ruled {
					t.Errorf("%s has %s: %v, want %v:\n%s", of, name, got, ruled, said)
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			const warning = "ModemManager runs here and may write AT commands to the device"
			if got := strings.Contains(log.String(), warning); got == ruled {
				t.Errorf("the log warns of ModemManager: %v, want %v: %s", got, !ruled, log.String())
			}
			if ruled {
				checkRule(t)
			}
		})
	}
}

// access returns owner, group and mode of a file.
func access(name string) string {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode&0o777)
}

// trigger has udev apply its rules to a tty again, as udevadm trigger and settle do, which do nothing in a chroot. udev
// writes its record again after it has set owner and mode.
func trigger(t *testing.T, tty, action string) {
	t.Helper()
	device, err := os.ReadFile("/sys/class/tty/" + tty + "/dev")
	if err != nil {
		t.Fatal(err)
	}
	record := "/run/udev/data/c" + strings.TrimSpace(string(device))
	before, err := os.Stat(record)
	if err != nil {
		t.Fatal(err)
	}
	sysfs(t, "/sys/class/tty/"+tty+"/uevent", action)
	logindtest.Eventually(t, "udev has applied its rules", testenv.Patience, func() bool {
		now, err := os.Stat(record)
		return err == nil && !os.SameFile(before, now)
	})
}

// checkOwners: udev may set a node's owner late, if it still has to process the end of an earlier one, and again whenever it is
// triggered. In the end the node has the configured owner and mode.
func checkOwners(t *testing.T) {
	udev := startUdev(t)
	config := uart.PortConfig{Path: filepath.Join(t.TempDir(), "ttyV0"), Owner: "65534", Group: "12345", Mode: 0o640}
	const want = "65534:12345 640"
	first, err := kerneltty.New().Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	device := first.Name()
	stop := func(s unix.Signal) {
		if err := unix.Kill(udev.Pid, s); err != nil {
			t.Fatal(err)
		}
	}
	stop(unix.SIGSTOP)
	goOn := sync.OnceFunc(func() { stop(unix.SIGCONT) })
	defer goOn()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// udev's record of the first one still exists. A port that takes it for the second's is finished before udev goes on.
	soon := time.AfterFunc(5*time.Second, goOn)
	defer soon.Stop()
	p, err := kerneltty.New().Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	goOn()
	if p.Name() != device {
		t.Logf("the second one is %s, the first was %s", p.Name(), device)
	}
	logindtest.Eventually(t, "the owner is the one that was asked for", testenv.Patience, func() bool { return access(config.Path) == want })
	for _, action := range []string{"change", "add"} {
		trigger(t, filepath.Base(p.Name()), action)
		logindtest.Eventually(t, "after udev's action "+action+", the owner is the one that was asked for", testenv.Patience, func() bool {
			return access(config.Path) == want
		})
	}
	// A change by an administrator, without udev, stays.
	if err := os.Chmod(p.Name(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := access(config.Path); got != "65534:12345 600" {
		t.Errorf("after chmod by hand: %s", got)
	}
}

// checkRule: by our rules udev gives the node to root alone; the port's owner gets it when the agent has received udev's event.
func checkRule(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	agent := daemon(t, telnetcpc(), "attach", "--host", "kernel", "--mode", "640", path, "127.0.0.1:1")
	const want = "0:20 640"
	logindtest.Eventually(t, "the port is there", testenv.Patience, func() bool { return access(path) == want })
	signal := func(s unix.Signal) {
		if err := unix.Kill(agent.Pid, s); err != nil {
			t.Fatal(err)
		}
	}
	signal(unix.SIGSTOP)
	defer signal(unix.SIGCONT)
	tty, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	trigger(t, filepath.Base(tty), "change")
	if got := access(path); got != "0:0 600" {
		t.Errorf("udev gives the node to %s, want 0:0 600", got)
	}
	signal(unix.SIGCONT)
	logindtest.Eventually(t, "the owner is the one that was asked for", testenv.Patience, func() bool { return access(path) == want })
}

// checkBefore: a program that opens the node as soon as udev allows it has closed it before the port exists, and the port
// reports nothing of it.
func checkBefore(t *testing.T) {
	const file = "/run/udev/rules.d/00-before.rules"
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(t.TempDir(), "held")
	rule := fmt.Sprintf(`ACTION=="add", SUBSYSTEM=="tty", KERNEL=="ttyUSB*", PROGRAM="/bin/sh -c '(exec 3<>/dev/%%k; echo stranger >&3; echo >%s; sleep 3; rm %s) >/dev/null 2>&1 &'"`, mark, mark)
	if err := os.WriteFile(file, []byte(rule+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file)
	udev := startUdev(t)
	if err := unix.Kill(udev.Pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ttyV0")
	goOn := time.AfterFunc(3*time.Second, func() { _ = unix.Kill(udev.Pid, unix.SIGCONT) })
	defer goOn.Stop()
	p, err := kerneltty.New().Open(context.Background(), uart.PortConfig{Path: path})
	_ = unix.Kill(udev.Pid, unix.SIGCONT)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !gone(mark) {
		t.Error("the port is there while another program has its node open")
	}
	text := make(chan string, 20)
	go func() { // until the port is closed
		var got []byte
		for {
			b, e, err := p.Next()
			if err != nil {
				return
			}
			if e.Ready != nil {
				e.Ready(nil)
			}
			if got = append(got, b...); len(b) > 0 && len(got) >= len("program") {
				text <- string(got)
			}
		}
	}()
	program, err := uarttest.OpenTTY(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if _, err := io.WriteString(program, "program"); err != nil {
		t.Fatal(err)
	}
	if got := <-text; got != "program" {
		t.Errorf("the port reports %q, want only the program's bytes", got)
	}
}
