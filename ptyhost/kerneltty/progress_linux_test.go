package kerneltty

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telnetcpc/bridge/uart"
	"telnetcpc/bridge/usb/ftdi"
)

// Files of a fake machine's controller.
const (
	fakeHub    = "sys/devices/faux/vhci_hcd.0/usb5"
	fakeDevice = fakeHub + "/5-2"
	fakeTTY    = fakeDevice + "/5-2:1.0/ttyUSB7/tty/ttyUSB7"
)

// newHub returns a machine with a controller that has so many free ports.
func newHub(t *testing.T, ports int) *fake {
	f := newFake(t)
	f.load("vhci_hcd")
	states := make([]int, ports)
	for i := range states {
		states[i] = statusFree
	}
	f.file("sys/devices/faux/vhci_hcd.0/status", status(0, states...))
	f.file(fakeHub+"/speed", "480\n")
	return f
}

func (f *fake) remove(name string) {
	f.t.Helper()
	if err := os.RemoveAll(f.path(name)); err != nil {
		f.t.Error(err)
	}
}

// in runs one of the steps each span, until the test ends.
func in(t *testing.T, span time.Duration, steps ...func()) {
	go func() {
		for _, step := range steps {
			select {
			case <-t.Context().Done():
				return
			case <-time.After(span):
				step()
			}
		}
	}()
}

// others returns n steps of a machine that works on devices of other processes.
func (f *fake) others(n int, pattern string) (steps []func()) {
	for i := range n {
		steps = append(steps, func() { f.file(fmt.Sprintf(pattern, i), "") })
	}
	return steps
}

// A device is waited for as long as there is progress with others.
func TestTurn(t *testing.T) {
	const span = 40 * time.Second
	for _, tt := range []struct {
		name   string
		before func(f *fake) []func() // what happens before the device has a tty
		count  bool                   // the driver sends requests to the device meanwhile
	}{
		{"others come", func(f *fake) []func() { return f.others(4, fakeHub+"/5-1%d/serial") }, false},
		{"others get their ttys", func(f *fake) []func() { return f.others(4, fakeHub+"/5-1/5-1:1.0/ttyUSB%[1]d/tty/ttyUSB%[1]d/dev") }, false},
		{"others leave", func(f *fake) (steps []func()) {
			for i := range 4 {
				other := fmt.Sprintf(fakeHub+"/5-1%d", i)
				f.file(other+"/serial", "")
				steps = append(steps, func() { f.remove(other) })
			}
			return steps
		}, false},
		{"this process's come", func(*fake) []func() {
			step := func() { steps.Add(1) }
			return []func(){step, step, step, step}
		}, false},
		{"the driver asks", func(*fake) []func() { return []func(){func() {}, func() {}, func() {}, func() {}} }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newHub(t, 2)
				began := time.Now()
				requests := func() uint64 {
					if !tt.count {
						return 0
					}
					return uint64(time.Since(began) / span)
				}
				in(t, span, append(tt.before(f), func() {
					f.file(fakeTTY+"/dev", "188:7\n")
					f.file("dev/ttyUSB7", "")
				})...)
				got, err := f.tty(t.Context(), f.path(fakeDevice), nil, requests)
				if err != nil || got.name != "ttyUSB7" {
					t.Errorf("got %v, %v, want ttyUSB7 after %v", got, err, time.Since(began))
				}
			})
		})
	}
}

// Without progress the wait ends, plugPatience after the last.
func TestNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newHub(t, 2)
		in(t, 40*time.Second, f.others(3, fakeHub+"/5-1%d/serial")...)
		began := time.Now()
		_, err := f.tty(t.Context(), f.path(fakeDevice), nil, nil)
		if err == nil || !strings.Contains(err.Error(), "the kernel has not found the device, and there was no progress for 1m0s") {
			t.Errorf("got %v, want that it was not found", err)
		}
		if took := time.Since(began); took < 2*time.Minute+plugPatience || took > 2*time.Minute+plugPatience*3/2 {
			t.Errorf("given up after %v, want about 2m0s plus %v", took, plugPatience)
		}
	})
}

// A device that the kernel has given up is plugged in once more; no other failure is retried.
func TestPlugAgain(t *testing.T) {
	f := newHub(t, 2)
	device := f.path(fakeDevice)
	givenUp := f.explainNoTTY(device)
	f.file(fakeDevice+"/authorized", "0\n")
	forbidden := f.explainNoTTY(device)
	for _, tt := range []struct {
		name  string
		says  []error // the result of each try
		tries int
	}{
		{"found at once", []error{nil}, 1},
		{"given up once", []error{givenUp, nil}, 2},
		{"given up for good", []error{givenUp, givenUp, nil}, 2},
		{"not authorized", []error{forbidden, nil}, 1},
		{"called off", []error{context.Canceled, nil}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := f.preparing(t)
			tries := 0
			_, err := p.attachAgain(t.Context(), func() (*attachment, error) {
				if last := p.now.Load(); last != nil && !last.leaving.Load() {
					t.Error("plugged in while it was plugged in")
				}
				a := &attachment{gone: make(chan struct{})}
				close(a.gone)
				p.now.Store(a)
				tries++
				return a, tt.says[tries-1]
			})
			if tries != tt.tries || err != tt.says[tries-1] {
				t.Errorf("got %v after %d, want %v after %d", err, tries, tt.says[tt.tries-1], tt.tries)
			}
		})
	}
}

// The wait for a tty ends with its context.
func TestTurnCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newHub(t, 2)
		off := errors.New("called off")
		ctx, cancel := context.WithCancelCause(t.Context())
		in(t, time.Second, func() { cancel(off) })
		if _, err := f.tty(ctx, f.path(fakeDevice), nil, nil); !errors.Is(err, off) {
			t.Errorf("got %v, want %v", err, off)
		}
	})
}

// A slot whose last device is being removed is used when the kernel has removed it.
func TestSlotLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newHub(t, 1)
		f.file(fakeHub+"/5-1/serial", "")
		leaves := func() { f.remove(fakeHub + "/5-1") }
		in(t, 40*time.Second, append(f.others(4, "sys/devices/faux/vhci_hcd.1/usb6/6-%d/serial"), leaves)...)
		device, err := f.plug(t.Context(), f.vhci(), 99)
		if err != nil || device != f.path(fakeHub+"/5-1") {
			t.Errorf("got %s, %v", device, err)
		}
		if got := f.read("sys/devices/faux/vhci_hcd.0/attach"); got != "0 99 65537 3" {
			t.Errorf("attached %q, want 0 99 65537 3", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newHub(t, 1)
		f.file(fakeHub+"/5-1/serial", "")
		if _, err := f.plug(t.Context(), f.vhci(), 99); err == nil || !strings.Contains(err.Error(), "has freed no port of vhci_hcd for 1m0s") {
			t.Errorf("got %v, want that the device stays", err)
		}
	})
}

// Only one process at a time chooses a port of vhci; if it makes no progress, the error names its lock.
func TestPlugAlone(t *testing.T) {
	hold := func(f *fake) (release func()) {
		release, err := lockAttach(f.path("sys/devices/faux/vhci_hcd.0/attach"))
		if release == nil {
			t.Fatal(err)
		}
		if again, err := lockAttach(f.path("sys/devices/faux/vhci_hcd.0/attach")); again != nil || err != nil {
			t.Errorf("two at once: %v", err)
		}
		return release
	}
	synctest.Test(t, func(t *testing.T) {
		f := newHub(t, 1)
		began := time.Now()
		in(t, time.Second, hold(f))
		if device, err := f.plug(t.Context(), f.vhci(), 99); err != nil || device != f.path(fakeHub+"/5-1") || time.Since(began) < time.Second {
			t.Errorf("got %s, %v after %v", device, err, time.Since(began))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newHub(t, 1)
		defer hold(f)()
		if _, err := f.plug(t.Context(), f.vhci(), 99); err == nil || !strings.Contains(err.Error(), "another process is taking a port of vhci_hcd, and there was no progress for 1m0s") {
			t.Errorf("got %v, want that another process has the lock", err)
		}
	})
}

// If another process is loading the module, plug waits for its hub.
func TestNoHubYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newHub(t, 1)
		f.remove(fakeHub)
		in(t, time.Second, func() { f.file(fakeHub+"/speed", "480\n") })
		if device, err := f.plug(t.Context(), f.vhci(), 99); err != nil || device != f.path(fakeHub+"/5-1") {
			t.Errorf("got %s, %v", device, err)
		}
	})
}

// udev is waited for while it processes other devices.
func TestUdevTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.file("run/udev/control", "")
		f.file("sys/class/tty/ttyUSB7/dev", "188:7\n")
		in(t, 8*time.Second, append(f.others(5, "run/udev/data/c188:1%d"), func() { f.file("run/udev/data/c188:7", "E:ID_MM_PORT_IGNORE=1\n") })...)
		if got, err := f.udev(t.Context(), "ttyUSB7", 0); got != "\nE:ID_MM_PORT_IGNORE=1\n" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.file("run/udev/control", "")
		f.file("sys/class/tty/ttyUSB7/dev", "188:7\n")
		if got, err := f.udev(t.Context(), "ttyUSB7", 0); strings.TrimSpace(got) != "" || err != nil {
			t.Errorf("got %q, %v, want to go on without it", got, err)
		}
	})
}

// preparing returns a port whose tty exists, and puts a stty that does nothing into PATH.
func (f *fake) preparing(t *testing.T) *port {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stty"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return &port{system: f.system, Chip: ftdi.New(uart.PortConfig{}, "ttyV0", nil), log: slog.Default()}
}

// Our own open of the tty ends when the driver has closed it, which may take a while; another program may keep it open forever.
func TestPrepareTurn(t *testing.T) {
	f := newHub(t, 2)
	p := f.preparing(t)
	synctest.Test(t, func(t *testing.T) {
		quiet := make(chan struct{})
		in(t, 20*time.Second, append(f.others(5, fakeHub+"/5-1%d/serial"), func() { close(quiet) })...)
		if err := p.prepare(t.Context(), new(attachment), "ttyUSB7", quiet); err != nil {
			t.Errorf("while there is progress with others: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		err := p.prepare(t.Context(), new(attachment), "ttyUSB7", make(chan struct{}))
		if err == nil || !strings.Contains(err.Error(), "/dev/ttyUSB7 could not be prepared: another program has had it open for 30s") {
			t.Errorf("got %v, want that another program has it open", err)
		}
	})
}
