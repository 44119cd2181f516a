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
	// newID is where ftdi_sio is told of devices that it does not know by itself.
	newID = "sys/bus/usb-serial/drivers/ftdi_sio/new_id"

	statusFree = 4 // VDEV_ST_NULL of the kernel's drivers/usb/usbip/usbip_common.h
	highSpeed  = 3 // USB_SPEED_HIGH of linux/usb/ch9.h
	hubSpeed   = "480"
)

// vhci is the directory of vhci's first controller, which has the files of all; empty where there is none. It lies in
// platform; a patch that was posted moves it to faux.
func (s system) vhci() string {
	found, _ := filepath.Glob(s.path("sys/devices/*/vhci_hcd.0/attach"))
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[0])
}

// slot is one port of one of vhci's controllers, for a device of high speed.
type slot struct {
	number     int // of the port, over all controllers
	controller int
	hubPort    int // from 1, of the controller's hub
	free       bool
}

// slots lists the ports for devices of high speed, from the files status, status.1 and so on.
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

// device is the directory of what is plugged into a slot, whether it is there or not; empty while there is no hub.
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

// teach tells ftdi_sio of a vendor and a product, once: each telling makes its list longer.
func (s system) teach(vendor, product uint16) error {
	id := fmt.Sprintf("%04x %04x", vendor, product)
	for line := range strings.Lines(s.read(newID)) {
		if strings.TrimSpace(line) == id {
			return nil
		}
	}
	if err := write(s.path(newID), id); err != nil {
		return fmt.Errorf("tell the driver ftdi_sio of the device: %w", err)
	}
	return nil
}

// plug gives vhci one end of a stream socket for the wire of a new device, and returns the directory where the device will
// be. The kernel keeps a reference of its own. A slot whose last device is still on its way out is passed over while there
// is another, and so is one whose hub is not there yet: another process may be loading the module.
func (s system) plug(ctx context.Context, vhci string, wire int) (device string, err error) {
	ctx, cancel := s.whileMoving(ctx, plugPatience, nil, usbShown)
	defer cancel()
	attach, others := filepath.Join(vhci, "attach"), false
	err = poll(ctx, func() (bool, error) {
		release, err := alone(attach)
		if others = release == nil; others {
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
			if errors.Is(err, unix.EBUSY) { // another was quicker
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
	if errors.Is(err, errStill) && others {
		return "", fmt.Errorf("another process takes a port of vhci_hcd, and %w for %v (fuser %s names it)", errStill, plugPatience, attach)
	}
	if errors.Is(err, errStill) {
		err = fmt.Errorf("the kernel has taken no device out of its port for %v (dmesg says why)", plugPatience)
	}
	return device, err
}

// alone takes the right to choose a port of vhci and to take it: the kernel refuses a port that is taken, but complains of
// each such try in its log. Others are kept away by a lock on the file by which ports are taken, whatever process they are;
// usbip's own tool knows nothing of it. release is nil while another has the right, and with an error.
func alone(attach string) (release func(), err error) {
	f, err := os.OpenFile(attach, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case err == nil:
		return func() { _ = f.Close() }, nil
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR):
		return nil, f.Close()
	default: // where there are no locks the kernel decides, as it says
		return func() { _ = f.Close() }, nil
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// errGone says that a device has left while it was made ready.
var errGone = errors.New("the kernel has let go of the device (dmesg says why)")

// tty is what a driver has made of a device: a name, which others may have later, and what only this one has.
type tty struct {
	name  string // ttyUSB1
	dir   string // in sysfs
	inode uint64 // of dir
}

// find returns the tty that the driver has made of the device of this directory, nil where there is none.
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

// there reports whether a tty is still what its name leads to. The kernel takes the node away before it tells anybody, and
// the directory after; both may be another's by then.
func (s system) there(t *tty) bool {
	return exists(s.path("dev", t.name)) && inode(t.dir) == t.inode
}

// inode is the number of a file, which in sysfs no other one gets for long; 0: there is none.
func inode(name string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(name, &st) != nil {
		return 0
	}
	return st.Ino
}

// tty waits for the tty that the driver makes of the device of this directory. gone is closed when the device has left
// meanwhile; requests counts those that it has got.
func (s system) tty(ctx context.Context, device string, gone <-chan struct{}, requests func() uint64) (t *tty, err error) {
	ctx, cancel := s.whileMoving(ctx, plugPatience, requests, usbShown)
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
	if errors.Is(err, errStill) {
		return nil, s.explainNoTTY(device)
	}
	return t, err
}

// explainNoTTY says how far a device came.
func (s system) explainNoTTY(device string) error {
	authorized, err := os.ReadFile(filepath.Join(device, "authorized"))
	switch {
	case err != nil:
		return fmt.Errorf("the kernel has not found the device, and %w for %v (dmesg says why)", errStill, plugPatience)
	case strings.TrimSpace(string(authorized)) == "0":
		return errors.New("this machine authorizes no new USB device (allow product telnetcpc in usbguard, or use --host pty)")
	}
	return fmt.Errorf("the driver ftdi_sio has not made a tty of the device, and %w for %v (dmesg says why)", errStill, plugPatience)
}
