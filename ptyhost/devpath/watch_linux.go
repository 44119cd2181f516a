package devpath

import "golang.org/x/sys/unix"

// Watcher returns a descriptor that becomes readable when the present watcher process is gone (pidfd_open(2)), or -1 where
// there is none. After the death of this process it is gone when all ptys are hung up and all links removed. The caller
// closes the descriptor.
func Watcher() int {
	w := &watching
	w.talk.Lock()
	defer w.talk.Unlock()
	twin := -1
	if w.process == nil {
		return twin
	}
	_ = w.process.WithHandle(func(handle uintptr) {
		if fd, err := unix.FcntlInt(handle, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			twin = fd
		}
	})
	return twin
}

// hangUp closes the master of a pty and returns a descriptor that keeps its number: the slave, which the kernel has hung up
// too and which leads nowhere any more. Where it cannot be opened it is the master itself, which is hung up when it is
// closed: TIOCEXCL keeps the slave from all others, and before Linux 4.13 only its path leads to it.
func hangUp(master int) (keeps int) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_CLOEXEC
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
	if errno != 0 {
		return master
	}
	_ = unix.Close(master)
	return int(slave)
}
