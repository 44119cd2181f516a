// Command static is a Go program without a C library that uses a serial port, for the tests of package run.
package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	if err := use(os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func use(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fd := int(f.Fd())
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return err
	}
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.CBAUD) | unix.CS7 | unix.PARENB | unix.BOTHER
	t.Ispeed, t.Ospeed = 31250, 31250
	if err := unix.IoctlSetTermios(fd, unix.TCSETSF2, t); err != nil {
		return err
	}
	if back, err := unix.IoctlGetTermios(fd, unix.TCGETS2); err != nil || *back != *t {
		return fmt.Errorf("set %+v, got %+v, %v", t, back, err)
	}
	if _, err := f.WriteString("hello"); err != nil {
		return err
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(f, got); err != nil || string(got) != "hello" {
		return fmt.Errorf("read %q, %v", got, err)
	}
	for { // tcdrain, which a signal of Go's runtime may interrupt

		if err := unix.IoctlSetInt(fd, unix.TCSBRK, 1); err != unix.EINTR {
			return err
		}
	}
}
