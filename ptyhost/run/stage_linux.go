//go:build amd64 || arm64

package run

import (
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What this binary does under another name. It finds its work in its arguments, which only this package writes.
const (
	stageName = "telnetcpc: stage" // NAME SOCKET PATHS PROGRAM ARGV...
	guardName = "telnetcpc: guard" // NAME SOCKET PARENT NAMES..., with the ledger and the watcher's pipe behind the socket; see Host.words
	giverName = "telnetcpc: giver" // NAME SOCKET
)

// Main must come first in a program that uses this package: where this process is one of those that Start starts of the
// program's own binary, it does its work and does not return.
func Main() {
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case stageName:
		stage(os.Args[1:])
	case guardName:
		guard(os.Args[1:])
	case giverName:
		givesFor(os.Args[1:])
	}
}

// exitStage is the status of a stage that has failed; why has gone through its socket.
const exitStage = 125

// step says how far the stage has come; it goes through its socket with an errno.
type step uint32

const (
	stepListening step = iota + 1 // with the listener's descriptor
	stepPrivileges
	stepFilter
	stepExec
	stepReleased // to a guard: what is left is its
)

// stage sets the filter on this thread, sends its listener, waits for the word to go on and becomes the program. The filter
// is this thread's alone until then: all others of this process are gone with it.
func stage(args []string) {
	runtime.LockOSThread()
	socket, err := strconv.Atoi(args[0])
	if err != nil {
		os.Exit(exitStage)
	}
	unix.CloseOnExec(socket)
	fail := func(at step, errno syscall.Errno) {
		_ = report(socket, at, errno, -1)
		os.Exit(exitStage)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fail(stepPrivileges, errnoOf(err))
	}
	l, errno := install(filter(args[1] != ""))
	if errno != 0 {
		fail(stepFilter, errno)
	}
	_ = report(socket, stepListening, 0, l) // who does not hear it sees the end
	_ = unix.Close(l)
	var guard [4]byte
	if n, _ := unix.Read(socket, guard[:]); n != len(guard) {
		os.Exit(exitStage)
	}
	admit(int(binary.NativeEndian.Uint32(guard[:])))
	path, argv := args[2], args[3:]
	err = syscall.Exec(path, argv, os.Environ())
	if err == syscall.ENOEXEC { // a script without #!, as execvp(3) and so env(1) have it
		err = syscall.Exec("/bin/sh", append([]string{"sh", path}, argv[1:]...), os.Environ())
	}
	fail(stepExec, errnoOf(err))
}

// install sets the filter.
func install(program []unix.SockFilter) (l int, errno syscall.Errno) {
	whole := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// The filter fences nothing: before Linux 5.16 the kernel would slow the program down as if it did (SPEC_ALLOW).
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&whole)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), 0
}

// report sends a word through the socket, with a descriptor where there is one.
func report(socket int, at step, errno syscall.Errno, fd int) error {
	word := binary.NativeEndian.AppendUint32(nil, uint32(at))
	word = binary.NativeEndian.AppendUint32(word, uint32(errno))
	return tell(socket, word, fd)
}

// tell sends bytes through a socket, with a descriptor where there is one.
func tell(socket int, word []byte, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	for {
		if err := unix.Sendmsg(socket, word, rights, nil, 0); err != unix.EINTR {
			return err
		}
	}
}

// hear receives what report has sent. fd is -1 where none came. ok is false where the other end is closed.
func hear(socket int) (at step, errno syscall.Errno, fd int, ok bool) {
	var word [8]byte
	if fd, ok = take(socket, word[:]); !ok {
		return 0, 0, -1, false
	}
	return step(binary.NativeEndian.Uint32(word[:])), syscall.Errno(binary.NativeEndian.Uint32(word[4:])), fd, true
}

// take receives what tell has sent, as long as word is. fd is -1 where none came. ok is false where the other end is closed.
func take(socket int, word []byte) (fd int, ok bool) {
	rights := make([]byte, unix.CmsgSpace(4))
	for {
		n, m, _, _, err := unix.Recvmsg(socket, word, rights, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n != len(word) {
			return -1, false
		}
		fd = -1
		if messages, err := unix.ParseSocketControlMessage(rights[:m]); err == nil && len(messages) == 1 {
			if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
				fd = fds[0]
			}
		}
		return fd, true
	}
}
