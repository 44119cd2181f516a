package kerneltty

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/testenv"
	"telnetcpc/bridge/uart"
	"telnetcpc/ptyhost/devpath"
)

// plugged returns a port whose tty the driver has made, and its path. Its wire is not connected.
func (f *fake) plugged(t *testing.T, log *testenv.Output) (p *port, path string) {
	t.Helper()
	f.preparing(t)
	f.file(newID, "1209 3696\n")
	f.file(fakeDevice+"/serial", "ttyV0\n")
	f.driver()
	path = filepath.Join(t.TempDir(), "ttyV0")
	claim, err := devpath.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	p = newPort(f.system, claim, devpath.Access{UID: -1, GID: -1, Mode: 0o640}, uart.PortConfig{Log: slog.New(slog.NewTextHandler(log, nil))})
	a := &attachment{device: f.path(fakeDevice), gone: make(chan struct{})}
	a.tty.Store(f.find(a.device))
	p.now.Store(a)
	if err := claim.Link("/dev/ttyUSB7", -1); err != nil {
		t.Fatal(err)
	}
	return p, path
}

// driver makes the files that the driver makes for the device.
func (f *fake) driver() {
	f.file(fakeTTY+"/dev", "188:7\n")
	f.file("dev/ttyUSB7", "")
}

// unbind removes them, as the kernel does: the node first.
func (f *fake) unbind() {
	f.remove("dev/ttyUSB7")
	f.remove(fakeDevice + "/5-2:1.0")
}

func linked(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// The path is removed with the tty, also if another device's tty has its name by then, or the driver has made a new one at once.
func TestUnbound(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(f *fake)
		gone    bool
		wantLog string
	}{
		{"nothing has happened", func(*fake) {}, false, ""},
		{"the node is gone", func(f *fake) { f.remove("dev/ttyUSB7") }, true, "the driver has released the device"},
		{"all is gone", (*fake).unbind, true, "the driver has released the device"},
		{"the name is another's", func(f *fake) {
			f.unbind()
			f.file("dev/ttyUSB7", "")
		}, true, "the driver has released the device"},
		{"there is another one of ours", func(f *fake) {
			keep := f.path(fakeTTY) + ".old" // so that its inode is not reused
			if err := os.Rename(f.path(fakeTTY), keep); err != nil {
				f.t.Fatal(err)
			}
			f.driver()
			f.remove(fakeTTY + ".old")
		}, true, "the driver has released the device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newHub(t, 2)
				var logged testenv.Output
				p, path := f.plugged(t, &logged)
				tt.change(f)
				p.check()
				if got := !linked(path); got != tt.gone {
					t.Errorf("path removed: got %v, want %v", got, tt.gone)
				}
				if !strings.Contains(logged.String(), tt.wantLog) {
					t.Errorf("the log has: %s, want %s", logged.String(), tt.wantLog)
				}
			})
		})
	}
}

// A tty that cannot be made ready ends the port, with the reason; one that disappears again does not.
func TestRebindFails(t *testing.T) {
	for _, stays := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newHub(t, 2)
			var logged testenv.Output
			p, _ := f.plugged(t, &logged)
			f.unbind()
			p.check()
			f.driver()
			if !stays {
				go func() { // before another program counts as the cause
					time.Sleep(openPatience / 2)
					f.unbind()
				}()
			}
			p.check() // nothing closes the tty, because the wire is not connected
			if !stays {
				if p.failed.Load() != nil {
					t.Errorf("the port has failed: %v", *p.failed.Load())
				}
				return
			}
			_, _, err := p.Next()
			if err == nil || !strings.Contains(err.Error(), "not ready again after its driver released it: /dev/ttyUSB7 could not be prepared") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The id is registered again with a module that was removed and loaded again.
func TestDriverForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newHub(t, 2)
		var logged testenv.Output
		p, _ := f.plugged(t, &logged)
		f.unbind()
		f.remove(newID)
		p.check()
		if f.exists(newID) {
			t.Error("the ids of a module that is not loaded were registered")
		}
		f.file(newID, "")
		p.check()
		if got := f.read(newID); got != "1209 3696" {
			t.Errorf("registered ids: %q", got)
		}
	})
}

// If a device is unplugged, its tty goes first: the driver is not the cause then.
func TestUnpluggedIsNotUnbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newHub(t, 2)
		var logged testenv.Output
		p, path := f.plugged(t, &logged)
		f.unbind()
		go func() {
			time.Sleep(unboundSettles / 2)
			close(p.now.Load().gone)
		}()
		p.check()
		if linked(path) || logged.String() != "" {
			t.Errorf("the path is there: %v; the log has: %s", linked(path), logged.String())
		}
	})
}

// The node gets its owner, another device's node never does; without a configured owner it stays as it is.
func TestOwn(t *testing.T) {
	f := newHub(t, 2)
	var logged testenv.Output
	p, _ := f.plugged(t, &logged)
	tty := p.now.Load().tty.Load()
	node := f.path("dev/ttyUSB7")
	access := func() string {
		var st unix.Stat_t
		if err := unix.Stat(node, &st); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode&0o777)
	}
	own := fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
	who := devpath.Access{UID: -1, GID: -1, Mode: 0o640}
	if changed, err := f.setAccess(tty, who); !changed || err != nil || access() != own+" 640" {
		t.Errorf("the mode alone: changed %v, %v, %s", changed, err, access())
	}
	if changed, err := f.setAccess(tty, who); changed || err != nil {
		t.Errorf("again: changed %v, %v, want nothing to do", changed, err)
	}
	if os.Getuid() == 0 {
		who = devpath.Access{UID: 65534, GID: 12345, Mode: 0o600}
		if changed, err := f.setAccess(tty, who); !changed || err != nil || access() != "65534:12345 600" {
			t.Errorf("all: changed %v, %v, %s", changed, err, access())
		}
	}
	f.remove(fakeDevice + "/5-2:1.0") // and the node belongs to another device
	before := access()
	if changed, err := f.setAccess(tty, devpath.Access{UID: -1, GID: -1, Mode: 0o666}); changed || err != errGone || access() != before {
		t.Errorf("another device's node: changed %v, %v, %s, want %s", changed, err, access(), before)
	}
}

// A record of udev that is older than the tty belongs to another one that had its number.
func TestUdevStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.file("run/udev/control", "")
		f.file("sys/class/tty/ttyUSB7/dev", "188:7\n")
		f.file("run/udev/data/c188:7", "I:1000\nE:OF=stranger\n")
		in(t, 5*time.Second, func() { f.file("run/udev/data/c188:7", "I:2001\nE:OF=ours\n") })
		if got, err := f.udev(t.Context(), "ttyUSB7", 2000); !strings.Contains(got, "OF=ours") || err != nil {
			t.Errorf("got %q, %v, want ours", got, err)
		}
	})
}

// Messages of kernel and udev are parsed; anything else is ignored.
func TestDevicePath(t *testing.T) {
	properties := "ACTION=remove\x00DEVPATH=/devices/platform/vhci_hcd.0/usb3/3-1\x00SUBSYSTEM=usb\x00"
	udev := append([]byte("libudev\x00"), make([]byte, 32)...)
	binary.BigEndian.PutUint32(udev[8:], 0xfeedcafe)
	binary.NativeEndian.PutUint32(udev[12:], 40)
	binary.NativeEndian.PutUint32(udev[16:], 40)
	far := bytes.Clone(udev)
	binary.NativeEndian.PutUint32(far[16:], 1<<31)
	const want = "/devices/platform/vhci_hcd.0/usb3/3-1"
	for name, tt := range map[string]struct {
		message []byte
		want    string
	}{
		"kernel":                {[]byte("remove@/devices/platform/vhci_hcd.0/usb3/3-1\x00" + properties), want},
		"udev":                  {append(append(udev, 0), properties...), want},
		"udev, first":           {append(bytes.Clone(udev), properties[len("ACTION=remove\x00"):]...), want},
		"beyond its end":        {append(far, properties...), ""},
		"half a header":         {udev[:18], ""},
		"nothing":               {nil, ""},
		"no property of a path": {[]byte("add@/x\x00ACTION=add\x00"), ""},
	} {
		if got := string(devicePath(tt.message)); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// An event wakes the ports that it concerns; one about the driver wakes all.
func TestConcerns(t *testing.T) {
	f := newHub(t, 2)
	var logged testenv.Output
	p, _ := f.plugged(t, &logged)
	other, _ := newHub(t, 2).plugged(t, &logged)
	other.now.Load().device = other.system.path("sys/devices/faux/vhci_hcd.0/usb5/5-20")
	u := uevents{ports: map[*port]bool{p: true, other: true}}
	hears := func(path string, want, wantOther bool) {
		t.Helper()
		var device []byte
		if path != "" {
			device = []byte(path)
		}
		u.wake(device)
		got, gotOther := len(p.changed) == 1, len(other.changed) == 1
		if got != want || gotOther != wantOther {
			t.Errorf("%s: woken %v and %v, want %v and %v", path, got, gotOther, want, wantOther)
		}
		for _, p := range []*port{p, other} {
			select {
			case <-p.changed:
			default:
			}
		}
	}
	hears("/devices/faux/vhci_hcd.0/usb5/5-2/5-2:1.0/ttyUSB7/tty/ttyUSB7", true, false)
	hears("/devices/faux/vhci_hcd.0/usb5/5-2", true, false)
	hears("/devices/faux/vhci_hcd.0/usb5/5-20/5-20:1.0", false, true)
	hears("/devices/pci0000:00/net/eth0", false, false)
	hears("/bus/usb-serial/drivers/ftdi_sio", true, true)
	hears("", true, true)
}
