package kerneltty

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Multicast groups of NETLINK_KOBJECT_UEVENT: what the kernel says, and what udev says when it has done what its rules ask
// for (libsystemd's sd-device/device-monitor.c).
const (
	groupKernel = 1
	groupUdev   = 2
)

// ueventRoom is for one message: the kernel's have at most 2 KiB of properties, udev's are somewhat larger. What is cut off
// comes after the properties of the kernel.
const ueventRoom = 16 << 10

// ueventBuffer is for messages that wait; an overflow is announced, and everybody looks then.
const ueventBuffer = 1 << 20

// uevents hears what becomes of devices, for all ports of this process, by one socket and one goroutine. A message is no
// more than a reason to look.
type uevents struct {
	mu    sync.Mutex // over what follows
	ports map[*port]bool
	file  *os.File // the socket; nil: none is open
	ended chan struct{}
}

// changes is what this process hears.
var changes uevents

// add has a port told until remove. deaf: nothing can be heard here, and the port must look by itself.
func (u *uevents) add(p *port) (deaf bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file == nil {
		file, err := openUevents()
		if err != nil {
			return true
		}
		u.file, u.ended, u.ports = file, make(chan struct{}), map[*port]bool{}
		go u.hear(file, u.ended) // until remove closes the socket
	}
	u.ports[p] = true
	return false
}

// remove ends what add began. Idempotent.
func (u *uevents) remove(p *port) {
	u.mu.Lock()
	delete(u.ports, p)
	file, ended := u.file, u.ended
	if file == nil || len(u.ports) > 0 {
		u.mu.Unlock()
		return
	}
	u.file = nil
	u.mu.Unlock()
	_ = file.Close()
	<-ended
}

// hear tells the ports what concerns them.
func (u *uevents) hear(file *os.File, ended chan struct{}) {
	defer close(ended)
	room := make([]byte, ueventRoom)
	for {
		n, err := file.Read(room)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil: // ENOBUFS: some are lost
			u.tell(nil)
			if !errors.Is(err, unix.ENOBUFS) {
				time.Sleep(time.Second) // no such error is known: it may come each time
			}
		default:
			if device := devicePath(room[:n]); device != nil {
				u.tell(device)
			}
		}
	}
}

// tell has ports look: whom the device concerns; nil: all.
func (u *uevents) tell(device []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	driver := bytes.HasSuffix(device, []byte("/drivers/ftdi_sio"))
	for p := range u.ports {
		if device == nil || driver || p.concerns(string(device)) {
			p.tell()
		}
	}
}

// openUevents returns a socket that hears kernel and udev. It needs no privileges.
func openUevents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, ueventBuffer)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groupKernel | groupUdev}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "uevent"), nil
}

// devicePath is the property DEVPATH of a message, a path below /sys; nil: it has none. The kernel's begins with a line of its
// own, udev's with a header: "libudev\0", then words of 32 bits of which the third is where the properties begin.
func devicePath(message []byte) []byte {
	if bytes.HasPrefix(message, []byte("libudev\x00")) {
		if len(message) < 20 {
			return nil
		}
		begin := binary.NativeEndian.Uint32(message[16:])
		if uint64(begin) > uint64(len(message)) {
			return nil
		}
		message = message[begin:]
	}
	for property := range bytes.SplitSeq(message, []byte{0}) {
		if path, ok := bytes.CutPrefix(property, []byte("DEVPATH=")); ok {
			return path
		}
	}
	return nil
}
