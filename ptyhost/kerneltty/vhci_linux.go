package kerneltty

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// newID is the file in which further device ids are registered with ftdi_sio.
	newID = "sys/bus/usb-serial/drivers/ftdi_sio/new_id"

	statusFree = 4 // VDEV_ST_NULL of the kernel's drivers/usb/usbip/usbip_common.h
	highSpeed  = 3 // USB_SPEED_HIGH of linux/usb/ch9.h
	hubSpeed   = "480"
)

// vhci returns the directory of vhci's first controller, which has the files of all; empty: there is none. It is below
// devices/platform; a proposed kernel patch moves it to devices/faux.
func (s system) vhci() string {
	found, _ := filepath.Glob(s.path("sys/devices/*/vhci_hcd.0/attach"))
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[0])
}

// slot is one port of one of vhci's controllers, for a high-speed device.
type slot struct {
	number     int // of the port, over all controllers
	controller int
	hubPort    int // from 1, of the controller's hub
	free       bool
}

// slots lists the ports for high-speed devices, from the files status, status.1 and so on.
func (s system) slots(vhci string) ([]slot, error) {
	var all []slot
	for controller := 0; ; controller++ {
		name := filepath.Join(vhci, "status")
		if controller > 0 {
			name += "." + strconv.Itoa(controller)
		}
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) && controller > 0 {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w (is this vhci_hcd of Linux 4.13 or newer?)", err)
		}
		all = append(all, parseStatus(string(text), controller)...)
	}
}

// parseStatus reads lines like "hs  0003 004 000 00000000 000000 0-0" below a heading: the hub, the port, its state.
func parseStatus(text string, controller int) []slot {
	var list []slot
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "hs" {
			continue
		}
		number, err := strconv.Atoi(fields[1])
		state, err2 := strconv.Atoi(fields[2])
		if err != nil || err2 != nil {
			continue
		}
		list = append(list, slot{number: number, controller: controller, hubPort: len(list) + 1, free: state == statusFree})
	}
	return list
}

// device returns the directory of the device in a slot, whether it exists or not; empty while there is no hub.
func (s system) device(vhci string, p slot) string {
	hubs, _ := filepath.Glob(filepath.Join(filepath.Dir(vhci), fmt.Sprintf("vhci_hcd.%d", p.controller), "usb*"))
	for _, hub := range hubs {
		speed, err := os.ReadFile(filepath.Join(hub, "speed"))
		if err == nil && strings.TrimSpace(string(speed)) == hubSpeed { // the controller's other hub is for USB 3
			bus := strings.TrimPrefix(filepath.Base(hub), "usb")
			return filepath.Join(hub, fmt.Sprintf("%s-%d", bus, p.hubPort))
		}
	}
	return ""
}

// register registers a vendor and product id with ftdi_sio, once: each write makes the driver's list longer.
func (s system) register(vendor, product uint16) error {
	id := fmt.Sprintf("%04x %04x", vendor, product)
	for line := range strings.Lines(s.read(newID)) {
		if strings.TrimSpace(line) == id {
			return nil
		}
	}
	if err := write(s.path(newID), id); err != nil {
		return fmt.Errorf("register the device with the driver ftdi_sio: %w", err)
	}
	return nil
}

// plug passes vhci one end of a stream socket as the wire of a new device, and returns the directory that the device
// will have. The kernel takes its own reference to the socket. A slot whose last device is still being removed is
// skipped if there is another one, and so is a slot whose hub does not exist yet, because another process may be
// loading the module.
func (s system) plug(ctx context.Context, vhci string, wire int) (device string, err error) {
	ctx, cancel := s.whileProgress(ctx, plugPatience, nil, usbProgress)
	defer cancel()
	attach, locked := filepath.Join(vhci, "attach"), false
	err = poll(ctx, func() (bool, error) {
		release, err := lockAttach(attach)
		if locked = release == nil; locked {
			return false, err
		}
		defer release()
		slots, err := s.slots(vhci)
		if err != nil {
			return false, err
		}
		leaving := false
		for _, p := range slots {
			if !p.free {
				continue
			}
			d := s.device(vhci, p)
			if d == "" || exists(d) {
				leaving = true
				continue
			}
			// devid is ours to choose: the number of the slot, as bus 1.
			err := write(attach, fmt.Sprintf("%d %d %d %d", p.number, wire, 1<<16|(p.number+1), highSpeed))
			if errors.Is(err, unix.EBUSY) { // another process was faster
				leaving = true
				continue
			}
			device = d
			return true, err
		}
		if !leaving {
			return false, allTaken(len(slots))
		}
		return false, nil
	})
	if errors.Is(err, errNoProgress) && locked {
		return "", fmt.Errorf("another process is taking a port of vhci_hcd, and %w for %v (fuser %s names it)", errNoProgress, plugPatience, attach)
	}
	if errors.Is(err, errNoProgress) {
		err = fmt.Errorf("the kernel has freed no port of vhci_hcd for %v (see dmesg)", plugPatience)
	}
	return device, err
}

// lockAttach serialises the choice of a vhci port among processes: the kernel refuses a port that is taken, but logs an
// error each time. The lock is flock(2) on vhci's file attach; the usbip tool does not use it. release is nil if
// another process has the lock, and with an error.
func lockAttach(attach string) (release func(), err error) {
	f, err := os.OpenFile(attach, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case err == nil:
		return func() { _ = f.Close() }, nil
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR):
		return nil, f.Close()
	default: // without locks the kernel decides
		return func() { _ = f.Close() }, nil
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// errGone means that the device was removed while it was made ready.
var errGone = errors.New("the kernel has removed the device (see dmesg)")

// tty is a tty that the driver has made: its name, which another tty may get later, and what identifies this one.
type tty struct {
	name  string // ttyUSB1
	dir   string // in sysfs
	inode uint64 // of dir
}

// find returns the tty of the device with this directory; nil: there is none.
func (s system) find(device string) *tty {
	found, _ := filepath.Glob(filepath.Join(device, filepath.Base(device)+":1.0", "ttyUSB*", "tty", "ttyUSB*"))
	if len(found) != 1 {
		return nil
	}
	t := &tty{name: filepath.Base(found[0]), dir: found[0], inode: inode(found[0])}
	if t.inode == 0 || !exists(s.path("dev", t.name)) {
		return nil
	}
	return t
}

// present reports whether a tty still exists under its name. The kernel removes the node before it sends the event, and
// the directory after it; by then both names may be another tty's.
func (s system) present(t *tty) bool {
	return exists(s.path("dev", t.name)) && inode(t.dir) == t.inode
}

// inode returns the inode number of a file, which sysfs does not reuse soon; 0: there is no file.
func inode(name string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(name, &st) != nil {
		return 0
	}
	return st.Ino
}

// tty waits until the driver has made the tty of the device with this directory. gone is closed when the device is
// unplugged; requests returns the number of requests that the device has received.
func (s system) tty(ctx context.Context, device string, gone <-chan struct{}, requests func() uint64) (t *tty, err error) {
	ctx, cancel := s.whileProgress(ctx, plugPatience, requests, usbProgress)
	defer cancel()
	err = poll(ctx, func() (bool, error) {
		select {
		case <-gone:
			return false, errGone
		default:
		}
		t = s.find(device)
		return t != nil, nil
	})
	if errors.Is(err, errNoProgress) {
		return nil, s.explainNoTTY(device)
	}
	return t, err
}

// explainNoTTY returns the error for a device that has no tty, depending on how far the kernel came.
func (s system) explainNoTTY(device string) error {
	authorized, err := os.ReadFile(filepath.Join(device, "authorized"))
	switch {
	case err != nil:
		return fmt.Errorf("the kernel has not found the device, and %w for %v (see dmesg)", errNoProgress, plugPatience)
	case strings.TrimSpace(string(authorized)) == "0":
		return errors.New("this machine does not authorize new USB devices (allow product telnetcpc in usbguard, or use --host pty)")
	}
	return fmt.Errorf("the driver ftdi_sio has not made a tty of the device, and %w for %v (see dmesg)", errNoProgress, plugPatience)
}
