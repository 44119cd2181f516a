//go:build amd64 || arm64

package run

import (
	"bytes"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The memory of a program that is blocked in a call: process_vm_readv(2).

// readMemory fills p from the address. It fails with EFAULT if the address is bad.
func readMemory(tid uint32, address uint64, p []byte) error {
	return transfer(tid, address, p, unix.ProcessVMReadv)
}

// writeMemory writes p to the address. It fails with EFAULT if the address is bad.
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

// readString reads a zero-terminated string: a path. It never reads beyond the page in which the string ends.
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

// bytesOf returns a structure's memory as bytes.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
