//go:build amd64 || arm64

package run_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// minimalProgram32 is a 32-bit program for a machine that exits at once with status 0. It needs no compiler.
func minimalProgram32(machine elf.Machine) []byte {
	const base = 0x10000
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1: exit(2)
		0x31, 0xdb, // xor ebx, ebx
		0xcd, 0x80, // int 0x80
	}
	headers := uint32(binary.Size(elf.Header32{}) + binary.Size(elf.Prog32{}))
	size := headers + uint32(len(code))
	header := elf.Header32{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: base + headers, Phoff: uint32(binary.Size(elf.Header32{})),
		Ehsize: uint16(binary.Size(elf.Header32{})), Phentsize: uint16(binary.Size(elf.Prog32{})), Phnum: 1,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS32)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	segment := elf.Prog32{
		Type: uint32(elf.PT_LOAD), Vaddr: base, Paddr: base, Filesz: size, Memsz: size,
		Flags: uint32(elf.PF_R | elf.PF_X), Align: 0x1000,
	}
	var file bytes.Buffer
	for _, part := range []any{header, segment, code} {
		_ = binary.Write(&file, binary.LittleEndian, part) // cannot fail
	}
	return file.Bytes()
}

// execute makes the kernel execute a program, without a shell in between: a shell would take what the kernel refuses
// for a script, and report an error of its own.
func execute(t *testing.T, program []byte) error {
	t.Helper()
	file := filepath.Join(scratchDir(t), "program")
	if err := os.WriteFile(file, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return exec.Command(file).Run()
}

// need32Bits skips a test of 32-bit programs if the kernel cannot run them.
func need32Bits(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("no compiler for 32 bits")
	}
	err := execute(t, minimalProgram32(elf.EM_386))
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("this kernel does not run 32-bit programs (ia32_emulation is off or not built in)")
	}
	if err != nil {
		t.Fatalf("a 32-bit program that exits at once: %v", err)
	}
}

// TestForeignProgram: a program that the kernel cannot execute is distinguished from one that fails.
func TestForeignProgram(t *testing.T) {
	if err := execute(t, minimalProgram32(elf.EM_NONE)); !errors.Is(err, syscall.ENOEXEC) {
		t.Errorf("a program of no machine: got %v, want ENOEXEC", err)
	}
	if err := execute(t, []byte("#!/bin/sh\nexit 1\n")); err == nil || errors.Is(err, syscall.ENOEXEC) {
		t.Errorf("a program that fails: got %v, want its status", err)
	}
}
