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

// Multicast groups of NETLINK_KOBJECT_UEVENT: the kernel's events, and udev's after it has applied its rules
// (libsystemd's sd-device/device-monitor.c).
const (
	groupKernel = 1
	groupUdev   = 2
)

// ueventRoom is the buffer for one message: the kernel's have at most 2 KiB of properties, udev's are somewhat larger. What is
// cut off comes after the kernel's properties.
const ueventRoom = 16 << 10

// ueventBuffer is the socket's buffer. An overflow is reported, and then all ports check.
const ueventBuffer = 1 << 20

// uevents receives the events about devices for all ports of this process, with one socket and one goroutine. A message is no
// more than a reason to check.
type uevents struct {
	mu    sync.Mutex // guards everything below
	ports map[*port]bool
	file  *os.File      // the socket; nil: none is open
	ended chan struct{} // closed when receive has returned
}

// changes receives this process's events.
var changes uevents

// add wakes a port at each event that concerns it, until remove. noEvents: there are none here, and the port must check by
// itself.
func (u *uevents) add(p *port) (noEvents bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file == nil {
		file, err := openUevents()
		if err != nil {
			return true
		}
		u.file, u.ended, u.ports = file, make(chan struct{}), map[*port]bool{}
		go u.receive(file, u.ended) // until remove closes the socket
	}
	u.ports[p] = true
	return false
}

// remove undoes add. Idempotent.
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

// receive is the goroutine that reads the socket and wakes the ports.
func (u *uevents) receive(file *os.File, ended chan struct{}) {
	defer close(ended)
	room := make([]byte, ueventRoom)
	for {
		n, err := file.Read(room)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil: // ENOBUFS: some are lost
			u.wake(nil)
			if !errors.Is(err, unix.ENOBUFS) {
				time.Sleep(time.Second) // no such error is known: it might come each time
			}
		default:
			if device := devicePath(room[:n]); device != nil {
				u.wake(device)
			}
		}
	}
}

// wake has those ports check that the device concerns; nil: all.
func (u *uevents) wake(device []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	driver := bytes.HasSuffix(device, []byte("/drivers/ftdi_sio"))
	for p := range u.ports {
		if device == nil || driver || p.concerns(string(device)) {
			p.wake()
		}
	}
}

// openUevents returns a socket that receives the events of kernel and udev. It needs no privileges.
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

// devicePath returns the property DEVPATH of a message, a path below /sys; nil: it has none. The kernel's message begins with a
// line of its own, udev's with a header: "libudev\0", then words of 32 bits of which the third is where the properties begin.
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
