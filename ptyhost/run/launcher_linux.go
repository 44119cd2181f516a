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

// Helper processes: this binary, started under another name. Their arguments are written by this package only.
const (
	launcherName = "telnetcpc: launcher" // NAME SOCKET PATHS PROGRAM ARGV...
	standbyName  = "telnetcpc: standby"  // NAME SOCKET PARENT NAMES...; the memfd and the watcher's pipe follow the socket; see Host.standbyNames
	injectorName = "telnetcpc: injector" // NAME SOCKET
)

// Main must be the first call in the main function of a program that uses this package: Start starts the program's own
// binary as helper processes. In such a process Main does the helper's work and does not return.
func Main() {
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case launcherName:
		launcherMain(os.Args[1:])
	case standbyName:
		standbyMain(os.Args[1:])
	case injectorName:
		injectorMain(os.Args[1:])
	}
}

// exitHelper is the exit status of a helper that has failed; a launcher has sent the reason through its socket.
const exitHelper = 125

// step is what a helper reports through its socket, together with an errno: how far a launcher has come.
type step uint32

const (
	stepListening step = iota + 1 // with the listener's descriptor
	stepPrivileges
	stepFilter
	stepExec
	stepReleased // to a standby: it answers the calls from now on
)

// launcherMain installs the filter for this thread, sends the filter's listener to the parent, waits for permission and
// executes the program. Only this thread is under the filter; the exec ends all others.
func launcherMain(args []string) {
	runtime.LockOSThread()
	socket, err := strconv.Atoi(args[0])
	if err != nil {
		os.Exit(exitHelper)
	}
	unix.CloseOnExec(socket)
	fail := func(at step, errno syscall.Errno) {
		_ = sendStep(socket, at, errno, -1)
		os.Exit(exitHelper)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fail(stepPrivileges, errnoOf(err))
	}
	l, errno := installFilter(filter(args[1] != ""))
	if errno != 0 {
		fail(stepFilter, errno)
	}
	_ = sendStep(socket, stepListening, 0, l) // if this fails the parent sees the end of the socket
	_ = unix.Close(l)
	var guard [4]byte
	if n, _ := unix.Read(socket, guard[:]); n != len(guard) {
		os.Exit(exitHelper)
	}
	allowPtrace(int(binary.NativeEndian.Uint32(guard[:])))
	path, argv := args[2], args[3:]
	err = syscall.Exec(path, argv, os.Environ())
	if err == syscall.ENOEXEC { // a script without #!: execvp(3), and so env(1), runs it with a shell
		err = syscall.Exec("/bin/sh", append([]string{"sh", path}, argv[1:]...), os.Environ())
	}
	fail(stepExec, errnoOf(err))
}

// installFilter installs a filter for this thread and returns its listener.
func installFilter(program []unix.SockFilter) (l int, errno syscall.Errno) {
	whole := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// This filter is no sandbox. Before Linux 5.16 the kernel would disable speculation (and slow the program down) for
	// one.
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&whole)))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), 0
}

// sendStep sends a step through a socket, and a descriptor unless fd is -1.
func sendStep(socket int, at step, errno syscall.Errno, fd int) error {
	word := binary.NativeEndian.AppendUint32(nil, uint32(at))
	word = binary.NativeEndian.AppendUint32(word, uint32(errno))
	return sendMessage(socket, word, fd)
}

// sendMessage sends a message through a socket, and a descriptor unless fd is -1.
func sendMessage(socket int, word []byte, fd int) error {
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

// receiveStep receives what sendStep has sent. fd is -1 if none came. ok is false if the other end is closed.
func receiveStep(socket int) (at step, errno syscall.Errno, fd int, ok bool) {
	var word [8]byte
	if fd, ok = receiveMessage(socket, word[:]); !ok {
		return 0, 0, -1, false
	}
	return step(binary.NativeEndian.Uint32(word[:])), syscall.Errno(binary.NativeEndian.Uint32(word[4:])), fd, true
}

// receiveMessage receives a message of the length of word. fd is -1 if none came. ok is false if the other end is
// closed.
func receiveMessage(socket int, word []byte) (fd int, ok bool) {
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
