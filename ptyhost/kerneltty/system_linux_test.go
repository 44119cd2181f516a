package kerneltty

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telnetcpc/ptyhost/logind"
	"telnetcpc/ptyhost/logind/logindtest"
)

// fake is a machine made of files: sysfs and others.
type fake struct {
	system
	t *testing.T
}

// newFake returns a machine on which kernel ttys can be made: the modules are not loaded yet, and modprobe loads them.
func newFake(t *testing.T) *fake {
	f := &fake{t: t}
	f.system = system{
		root:    t.TempDir(),
		euid:    func() int { return 0 },
		release: func() string { return "6.1.0-56-amd64" },
		sleep:   logind.New("unix:path=/nonexistent/bus"),
	}
	f.modprobe = func(_ context.Context, module string) error {
		f.load(module)
		return nil
	}
	f.file("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n")
	f.file("lib/modules/6.1.0-56-amd64/modules.dep", "")
	f.file("sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
	return f
}

func (f *fake) file(name, text string) {
	f.t.Helper()
	name = f.path(name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// load makes the files of a module in sysfs.
func (f *fake) load(module string) {
	if module == "ftdi_sio" {
		f.file(newID, "")
		return
	}
	f.file("sys/devices/faux/vhci_hcd.0/attach", "")
	f.file("sys/devices/faux/vhci_hcd.0/status", status(0, 4, 4))
}

// status makes a status file of vhci with high-speed ports in these states, and as many for USB 3.
func status(first int, states ...int) string {
	text := "hub port sta spd dev      sockfd local_busid\n"
	for i, hub := range []string{"hs", "ss"} {
		for j, state := range states {
			if hub == "ss" {
				state = statusFree
			}
			text += fmt.Sprintf("%s  %04d %03d 000 00000000 000000 0-0\n", hub, first+i*len(states)+j, state)
		}
	}
	return text
}

// Each reason why a machine cannot make ports has an error of one line, with the remedy.
func TestCheck(t *testing.T) {
	noModule := func(_ context.Context, module string) error {
		return errors.New("modprobe: FATAL: Module " + module + " not found in directory /lib/modules/6.1.0-56-amd64")
	}
	for _, tt := range []struct {
		name   string
		change func(f *fake)
		want   string // empty: it works
	}{
		{"modules not loaded yet", func(*fake) {}, ""},
		{"modules loaded", func(f *fake) {
			f.load("vhci_hcd")
			f.load("ftdi_sio")
			f.modprobe = noModule
		}, ""},
		{"not root", func(f *fake) { f.euid = func() int { return 1000 } },
			"a kernel tty needs root (run telnetcpc as root, or use --host pty)"},
		{"Debian's cloud kernel", func(f *fake) {
			f.modprobe = noModule
			f.release = func() string { return "6.1.0-56-cloud-amd64" }
			f.file("lib/modules/6.1.0-56-cloud-amd64/modules.dep", "")
		}, "module vhci_hcd: FATAL: Module vhci_hcd not found in directory /lib/modules/6.1.0-56-amd64 " +
			"(apt install linux-image-amd64: Debian's cloud kernel lacks it; or use --host pty)"},
		{"Ubuntu", func(f *fake) {
			f.modprobe = noModule
			f.file("etc/os-release", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n")
		}, "(apt install linux-modules-extra-6.1.0-56-amd64; or use --host pty)"},
		{"Fedora", func(f *fake) {
			f.modprobe = noModule
			f.file("etc/os-release", "ID=fedora\n")
		}, "(dnf install kernel-modules-extra-6.1.0-56-amd64; or use --host pty)"},
		{"Raspberry Pi OS", func(f *fake) {
			f.modprobe = noModule
			f.release = func() string { return "6.12.25+rpt-rpi-v8" }
			f.file("lib/modules/6.12.25+rpt-rpi-v8/modules.dep", "")
		}, "(Raspberry Pi OS: apt full-upgrade, then restart; its kernel has the modules; or use --host pty)"},
		{"WSL 2", func(f *fake) {
			f.modprobe = noModule
			f.release = func() string { return "6.6.87.2-microsoft-standard-WSL2" }
		}, "(WSL 2: wsl --update in Windows, and systemd=true in /etc/wsl.conf; or use --host pty)"},
		{"container", func(f *fake) {
			f.modprobe = noModule
			f.file(".dockerenv", "")
		}, "(this is a container: modprobe -a vhci_hcd ftdi_sio on its host; or use --host pty)"},
		{"kernel upgraded since the start", func(f *fake) {
			f.modprobe = noModule
			f.release = func() string { return "6.1.0-55-amd64" }
		}, "(/lib/modules has nothing for the running kernel 6.1.0-55-amd64: after an upgrade of the kernel, restart the machine; or use --host pty)"},
		{"unknown distribution", func(f *fake) {
			f.modprobe = noModule
			f.file("etc/os-release", "ID=mystery\n")
		}, "(install the package of your distribution with the kernel's further modules; or use --host pty)"},
		{"lockdown", func(f *fake) {
			f.modprobe = func(context.Context, string) error {
				return errors.New("modprobe: ERROR: could not insert 'vhci_hcd': Key was rejected by service")
			}
			f.file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
		}, "module vhci_hcd: ERROR: could not insert 'vhci_hcd': Key was rejected by service " +
			"(the kernel is locked down (integrity) and accepts signed modules only: use the distribution's own kernel; or use --host pty)"},
		{"modprobe does nothing", func(f *fake) { f.modprobe = func(context.Context, string) error { return nil } },
			"the kernel has no module vhci_hcd ("},
		{"all taken", func(f *fake) {
			f.load("vhci_hcd")
			f.file("sys/devices/faux/vhci_hcd.0/status", status(0, 6, 6))
			f.file("sys/devices/faux/vhci_hcd.0/status.1", status(4, 5, 6))
		}, "all 4 ports of vhci_hcd are taken (usbip port lists them; end what uses them, or use --host pty)"},
		{"the second controller has one", func(f *fake) {
			f.load("vhci_hcd")
			f.file("sys/devices/faux/vhci_hcd.0/status", status(0, 6, 6))
			f.file("sys/devices/faux/vhci_hcd.0/status.1", status(4, 5, 4))
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			tt.change(f)
			err := Host{f.system}.Check()
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v, want nil", err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), "kernel: ") || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %v\nwant one line, kernel: ... %s", err, tt.want)
			}
		})
	}
}

// A slot's device is below the controller's hub for USB 2, whatever the numbers of the buses.
func TestSlots(t *testing.T) {
	f := newFake(t)
	f.load("vhci_hcd")
	f.file("sys/devices/faux/vhci_hcd.0/status.1", status(4, 6, 4))
	f.file("sys/devices/faux/vhci_hcd.1/usb5/speed", "480\n")
	f.file("sys/devices/faux/vhci_hcd.1/usb6/speed", "5000\n")
	slots, err := f.slots(f.vhci())
	if err != nil {
		t.Fatal(err)
	}
	want := []slot{{0, 0, 1, true}, {1, 0, 2, true}, {4, 1, 1, false}, {5, 1, 2, true}}
	if fmt.Sprint(slots) != fmt.Sprint(want) {
		t.Errorf("slots: got %v, want %v", slots, want)
	}
	if got, want := f.device(f.vhci(), want[3]), f.path("sys/devices/faux/vhci_hcd.1/usb5/5-2"); got != want {
		t.Errorf("device: got %s, want %s", got, want)
	}
	if got := f.device(f.vhci(), want[0]); got != "" {
		t.Errorf("device without a hub: got %s", got)
	}
}

// The device's id is registered with the driver once.
func TestTeach(t *testing.T) {
	f := newFake(t)
	f.load("ftdi_sio")
	if err := f.register(0x1209, 0x3696); err != nil {
		t.Fatal(err)
	}
	if got := f.read(newID); got != "1209 3696" {
		t.Errorf("new_id: got %q, want 1209 3696", got)
	}
	f.file(newID, "0403 1234\n1209 3696\n")
	if err := f.register(0x1209, 0x3696); err != nil {
		t.Fatal(err)
	}
	if got := f.read(newID); got != "0403 1234\n1209 3696" {
		t.Errorf("new_id: got %q, want it unchanged", got)
	}
}

// The error shows which step of attaching the device failed.
func TestNoTTY(t *testing.T) {
	f := newFake(t)
	device := f.path("sys/devices/faux/vhci_hcd.0/usb5/5-2")
	says := func(want string) {
		t.Helper()
		if err := f.explainNoTTY(device); !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	says("the kernel has not found the device, and there was no progress for 1m0s (see dmesg)")
	f.file("sys/devices/faux/vhci_hcd.0/usb5/5-2/authorized", "0\n")
	says("this machine does not authorize new USB devices")
	f.file("sys/devices/faux/vhci_hcd.0/usb5/5-2/authorized", "1\n")
	says("the driver ftdi_sio has not made a tty of the device, and there was no progress for 1m0s (see dmesg)")
}

// Each note is one line.
func TestNotes(t *testing.T) {
	f := newFake(t)
	notes := func(want ...string) {
		t.Helper()
		got := Host{f.system}.Notes()
		for i := range max(len(got), len(want)) {
			if len(got) != len(want) || !strings.HasPrefix(got[i], want[i]) {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	}
	const (
		modem = "ModemManager runs here and may write AT commands to a new port ("
		sleep = "this machine does not go to sleep while a kernel tty is attached: vhci_hcd refuses, and nothing announces the sleep: no D-Bus: "
	)
	notes()
	f.file("proc/self/comm", "telnetcpc\n")
	f.file("proc/812/comm", "ModemManager\n")
	notes(modem)
	f.file("sys/power/state", "freeze mem disk\n")
	notes(modem, sleep)
	f.file("etc/udev/rules.d/60-telnetcpc.rules", "")
	notes(sleep)
	bus := logindtest.NewBus(t)
	logindtest.NewManager(t, bus)
	f.sleep = logind.New(bus.Address)
	notes("before this machine goes to sleep a kernel tty is unplugged, and plugged in again after it: ")
}
