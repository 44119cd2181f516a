//go:build linux || darwin || freebsd

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// demoTry is what a user may try with the port.
const demoTry = "picocom -b 19200 %s"

// demoPort is where the demonstration's port appears: in a new directory, until remove is called.
func demoPort() (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "telnetcpc-demo-")
	if err != nil {
		return "", nil, fmt.Errorf("no directory for the port: %w (--port PATH says where it may appear)", err)
	}
	return filepath.Join(dir, "ttyV0"), func() { _ = os.RemoveAll(dir) }, nil
}

// tty is a serial port as an application has it open.
type tty struct {
	*os.File
	fd int
}

// openTTY opens a serial port's device as an application does.
func openTTY(name string) (*tty, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return &tty{os.NewFile(uintptr(fd), name), fd}, nil
}
