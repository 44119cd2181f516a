package vmtest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/kerneltty"
	"telnetcpc/ptyhost/kerneltty/logind/logindtest"
)

// rules is our file of rules for udev; the test outside has laid it beside this one.
const rules = "60-telnetcpc.rules"

// daemon starts a program that runs until the check ends.
func daemon(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %s", filepath.Base(name), out.String())
		}
	})
}

// udevadm runs it to a good end.
func udevadm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("udevadm", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("udevadm %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// checkUdev: where a real udev runs, its link by serial number is there when Open returns, the port's owner and mode are
// those asked for and stay so, and ModemManager is warned of, or kept away by our rules. A program of that name stands
// for ModemManager: what it would do is not tried.
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
			const control = "/run/udev/control"
			_ = os.Remove(control) // of the one before
			daemon(t, "/lib/systemd/systemd-udevd")
			logindtest.Eventually(t, "udev runs", patience, func() bool {
				_, err := os.Stat(control)
				return err == nil
			})
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
		})
	}
}
