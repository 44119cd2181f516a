// Command fuse is a program that serves a file system, and has a serial port: fuse DIR PORT. It mounts the file system on
// DIR, makes calls that telnetcpc run has to answer before it replies to a request, and starts a child that uses the files
// and the port. It prints "ok" if all went well.
//
// fuse DIR hang is a dead server: it prints "mounted" and answers nothing.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	var err error
	switch {
	case os.Args[2] == "hang":
		err = hang(os.Args[1])
	case len(os.Args) == 4:
		err = use(os.Args[1], os.Args[2])
	default:
		err = serve(os.Args[1], os.Args[2])
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

// use is the child.
func use(dir, port string) error {
	tty, err := unix.Open(port, unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("open the port: %w", err)
	}
	const number = 50
	for i := range 10 {
		for _, name := range []string{"file", filepath.Base(port)} {
			fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDONLY, 0)
			if err != nil {
				return fmt.Errorf("%d: open %s: %w", i, name, err)
			}
			if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); !errors.Is(err, unix.ENOTTY) {
				return fmt.Errorf("%d: TCGETS of %s: got %v, want ENOTTY", i, name, err)
			}
			// Another file under the port's number, and the port again.
			for _, from := range []int{tty, fd, tty} {
				if err := unix.Dup3(from, number, 0); err != nil {
					return err
				}
				_, err := unix.IoctlGetInt(number, unix.TIOCMGET)
				if from == fd && !errors.Is(err, unix.ENOTTY) || from == tty && err != nil {
					return fmt.Errorf("%d: TIOCMGET of %d: %v", i, from, err)
				}
			}
			if err := openByMapped(fd); err != nil {
				return fmt.Errorf("%d: open by a path in %s: %w", i, name, err)
			}
			if err := unix.Close(fd); err != nil {
				return err
			}
		}
	}
	return nil
}

// openByMapped opens the path that a file contains, without reading it first: as a program does that is itself on the file
// system and has the path as a constant.
func openByMapped(fd int) error {
	page, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(page) }()
	here := unix.AT_FDCWD
	null, _, errno := unix.Syscall(unix.SYS_OPENAT, uintptr(here), uintptr(unsafe.Pointer(unsafe.SliceData(page))), unix.O_RDONLY)
	if errno != 0 {
		return errno
	}
	return unix.Close(int(null))
}

// serve mounts the file system and starts the child.
func serve(dir, port string) error {
	tty, err := unix.Open(port, unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("open the port: %w", err)
	}
	device, err := mount(dir, "")
	if err != nil {
		return err
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	go answer(device, tty) // ends with the process
	cmd := exec.Command("/proc/self/exe", dir, port, "child")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func mount(dir, options string) (device int, err error) {
	if device, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("open /dev/fuse: %w", err)
	}
	if err := unix.Mount("test", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0%s", device, options)); err != nil {
		return -1, fmt.Errorf("mount: %w", err)
	}
	return device, nil
}

// hang answers the first request, and reads the others until it is killed.
func hang(dir string) error {
	device, err := mount(dir, ",allow_other")
	if err != nil {
		return err
	}
	fmt.Println("mounted")
	for buf := make([]byte, 1<<20); ; {
		n, err := unix.Read(device, buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT):
		case err != nil || n < 40:
			return err
		case binary.NativeEndian.Uint32(buf[4:]) == initialize:
			reply(device, binary.NativeEndian.Uint64(buf[8:]), 0, initialized())
		}
	}
}

// initialized returns a struct fuse_init_out that allows parallel lookups in a directory.
func initialized() []byte {
	const parallel = 1 << 18 // FUSE_PARALLEL_DIROPS
	e, out := binary.NativeEndian, make([]byte, 64)
	e.PutUint32(out, 7)
	e.PutUint32(out[4:], 31)
	e.PutUint32(out[12:], parallel)
	e.PutUint32(out[20:], 4096) // max_write
	return out
}

func reply(device int, unique uint64, errno unix.Errno, out []byte) {
	e := binary.NativeEndian
	head := e.AppendUint32(nil, uint32(16+len(out)))
	head = e.AppendUint32(head, uint32(-int32(errno)))
	head = e.AppendUint64(head, unique)
	_, _ = unix.Write(device, append(head, out...))
}

// Requests of linux/fuse.h.
const (
	lookup, forget, getattr, open, initialize, interrupt, opendir, batchForget = 1, 2, 3, 14, 26, 36, 27, 42
	read, release, releasedir, flush                                           = 15, 18, 29, 25
)

// Each file contains a path.
const (
	content = "/dev/null\x00"
	size    = 4096
)

// answer serves requests: every name is a file.
func answer(device, tty int) {
	e := binary.NativeEndian
	buf := make([]byte, 1<<20)
	for {
		n, err := unix.Read(device, buf)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil || n < 40 {
			return
		}
		opcode, unique, node := e.Uint32(buf[4:]), e.Uint64(buf[8:]), e.Uint64(buf[16:])
		if opcode == forget || opcode == batchForget || opcode == interrupt {
			continue
		}
		// Calls that telnetcpc has to answer first.
		_, _ = unix.IoctlGetInt(tty, unix.TIOCMGET)
		if null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Close(null)
		}
		var out []byte
		errno := unix.Errno(0)
		switch opcode {
		case initialize:
			out = initialized()
		case lookup:
			out = append(make([]byte, 40), attributes(2)...)
			e.PutUint64(out, 2)
		case getattr:
			out = append(make([]byte, 16), attributes(node)...)
		case read:
			out = make([]byte, size)
			copy(out, content)
		case open, opendir:
			out = make([]byte, 16)
		case release, releasedir, flush:
		default:
			errno = unix.ENOSYS
		}
		reply(device, unique, errno, out)
	}
}

// attributes returns a struct fuse_attr.
func attributes(node uint64) []byte {
	b := make([]byte, 88)
	e := binary.NativeEndian
	e.PutUint64(b, node)
	e.PutUint64(b[8:], size)
	mode := uint32(unix.S_IFREG | 0o644)
	if node == 1 {
		mode = unix.S_IFDIR | 0o755
	}
	e.PutUint32(b[60:], mode)
	e.PutUint32(b[64:], 1)
	return b
}
