package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/kerneltty"
	"telnetcpc/ptyhost/logind/logindtest"
)

// sysfs writes to a file of sysfs.
func sysfs(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// usbDevice returns the directory of the USB device whose tty a path leads to.
func usbDevice(t *testing.T, path string) string {
	t.Helper()
	tty, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	port, err := filepath.EvalSymlinks("/sys/class/tty/" + filepath.Base(tty) + "/device")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(filepath.Dir(port))
}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// modprobe runs modprobe(8), with -r to remove a module.
func modprobe(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("modprobe", args...).CombinedOutput(); err != nil {
		t.Fatalf("modprobe %v: %v: %s", args, err, out)
	}
}

// checkUnbound: when the driver releases the device, the path is removed, so that it does not lead to another device that gets
// the number; when the driver has the device again, the path leads to the new tty.
func checkUnbound(t *testing.T) {
	const usb = "/sys/bus/usb/drivers/ftdi_sio/"
	for _, tt := range []struct {
		name     string
		off, on  func(t *testing.T, device, tty string)
		stranger bool // another's device gets the number meanwhile
		held     bool // a program has the old one open
	}{
		{"the interface", func(t *testing.T, device, _ string) { sysfs(t, usb+"unbind", filepath.Base(device)+":1.0") },
			func(t *testing.T, device, _ string) { sysfs(t, usb+"bind", filepath.Base(device)+":1.0") }, true, false},
		{"the interface, at once", func(t *testing.T, device, _ string) {
			sysfs(t, usb+"unbind", filepath.Base(device)+":1.0")
			sysfs(t, usb+"bind", filepath.Base(device)+":1.0")
		}, func(*testing.T, string, string) {}, false, false},
		{"the interface, held", func(t *testing.T, device, _ string) { sysfs(t, usb+"unbind", filepath.Base(device)+":1.0") },
			func(t *testing.T, device, _ string) { sysfs(t, usb+"bind", filepath.Base(device)+":1.0") }, false, true},
		{"the device is not authorized", func(t *testing.T, device, _ string) { sysfs(t, device+"/authorized", "0") },
			func(t *testing.T, device, _ string) { sysfs(t, device+"/authorized", "1") }, true, true},
		{"the module", func(t *testing.T, _, _ string) { modprobe(t, "-r", "ftdi_sio") },
			func(t *testing.T, _, _ string) { modprobe(t, "ftdi_sio") }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ttyV0")
			var said testenv.Output
			p := openEcho(t, path, &said)
			device, tty := usbDevice(t, path), filepath.Base(p.Name())
			if tt.held {
				echoed(t, path, "before")
			} else if err := answers(path); err != nil {
				t.Fatal(err)
			}
			tt.off(t, device, tty)
			logindtest.Eventually(t, "the path is gone, or leads to the next one", testenv.Patience, func() bool {
				return gone(path) || strings.Contains(said.String(), "the driver has the device again")
			})
			if tt.stranger {
				other := filepath.Join(t.TempDir(), "ttyV1")
				stranger := openEcho(t, other, io.Discard)
				if !tt.held && stranger.Name() != "/dev/"+tty {
					t.Errorf("the other device has %s, want %s", stranger.Name(), tty)
				}
				if !gone(path) {
					t.Errorf("%s exists without a driver", path)
				}
			}
			tt.on(t, device, tty)
			logindtest.Eventually(t, "the port is back", testenv.Patience, func() bool { return !gone(path) })
			if !strings.Contains(said.String(), "the driver has released the device") {
				t.Errorf("the log lacks the reason: %s", said.String())
			}
			if err := answers(path); err != nil {
				t.Error(err)
			}
			if usbDevice(t, path) != device {
				t.Errorf("it has another device")
			}
		})
	}
	t.Run("usbip detach", checkDetached)
}

// openEcho opens a port that sends back what it receives, until the check ends.
func openEcho(t *testing.T, path string, log io.Writer) uart.Port {
	t.Helper()
	p, err := kerneltty.New().Open(context.Background(), uart.PortConfig{Path: path, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var echoes errgroup.Group
	echoes.Go(func() error { return echo(p) })
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := echoes.Wait(); err != uart.ErrClosed {
			t.Errorf("the port ended with %v, want ErrClosed", err)
		}
	})
	return p
}

// checkDetached: unplugging the device from outside ends the port with an error; the path is removed by then.
func checkDetached(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyV0")
	p, err := kerneltty.New().Open(context.Background(), uart.PortConfig{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var number int
	device := filepath.Base(usbDevice(t, path)) // 3-1: the first port of vhci's first controller
	if _, err := fmt.Sscanf(device[strings.IndexByte(device, '-')+1:], "%d", &number); err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob("/sys/devices/*/vhci_hcd.0/detach")
	if len(found) != 1 {
		t.Fatal("no file to detach by")
	}
	sysfs(t, found[0], fmt.Sprint(number-1))
	for err == nil {
		_, _, err = p.Next()
	}
	if !strings.Contains(err.Error(), "has removed the device") {
		t.Errorf("the port ended with: %v", err)
	}
	if !gone(path) {
		t.Errorf("%s still exists after the port is lost", path)
	}
}
