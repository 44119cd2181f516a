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
	err = poll(ctx, func() (bool, error) {
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
			err := write(filepath.Join(vhci, "attach"), fmt.Sprintf("%d %d %d %d", p.number, wire, 1<<16|(p.number+1), highSpeed))
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
	if errors.Is(err, errStill) {
		err = fmt.Errorf("the kernel has taken no device out of its port for %v (dmesg says why)", plugPatience)
	}
	return device, err
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// errGone says that a device has left while it was made ready.
var errGone = errors.New("the kernel has let go of the device (dmesg says why)")

// tty waits for the tty that the driver makes of the device of this directory, and returns its name: ttyUSB1. gone is closed when
// the device has left meanwhile; requests counts those that it has got.
func (s system) tty(ctx context.Context, device string, gone <-chan struct{}, requests func() uint64) (name string, err error) {
	ctx, cancel := s.whileMoving(ctx, plugPatience, requests, usbShown)
	defer cancel()
	ttys := filepath.Join(device, filepath.Base(device)+":1.0", "ttyUSB*", "tty", "ttyUSB*")
	err = poll(ctx, func() (bool, error) {
		select {
		case <-gone:
			return false, errGone
		default:
		}
		found, _ := filepath.Glob(ttys)
		if len(found) != 1 {
			return false, nil
		}
		name = filepath.Base(found[0])
		return exists(s.path("dev", name)), nil
	})
	if errors.Is(err, errStill) {
		return "", s.explainNoTTY(device)
	}
	return name, err
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
