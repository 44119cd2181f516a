//go:build amd64 || arm64

package run

import (
	"bytes"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The memory of a program that stands still in a call.

// readMemory fills p from the address, or fails as the kernel does with a bad address.
func readMemory(tid uint32, address uint64, p []byte) error {
	return transfer(tid, address, p, unix.ProcessVMReadv)
}

// writeMemory writes p to the address.
func writeMemory(tid uint32, address uint64, p []byte) error {
	return transfer(tid, address, p, unix.ProcessVMWritev)
}

func transfer(tid uint32, address uint64, p []byte, f func(int, []unix.Iovec, []unix.RemoteIovec, uint) (int, error)) error {
	local := []unix.Iovec{{Base: &p[0]}}
	local[0].SetLen(len(p))
	n, err := f(int(tid), local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(p)}}, 0)
	switch {
	case err != nil:
		return err
	case n < len(p):
		return unix.EFAULT
	}
	return nil
}

// readString reads a string that ends with a zero: a path. It never reads beyond the page that the string ends in.
func readString(tid uint32, address uint64) (string, error) {
	var text []byte
	page := uint64(os.Getpagesize())
	chunk := make([]byte, 256)
	for len(text) < unix.PathMax {
		n := min(page-address%page, uint64(len(chunk)))
		if err := readMemory(tid, address, chunk[:n]); err != nil {
			return "", err
		}
		if end := bytes.IndexByte(chunk[:n], 0); end >= 0 {
			return string(append(text, chunk[:end]...)), nil
		}
		text = append(text, chunk[:n]...)
		address += n
	}
	return "", unix.ENAMETOOLONG
}

// bytesOf is a structure as the bytes that it has in memory.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
