package devpath

import "golang.org/x/sys/unix"

// hangUp closes a master, which hangs the pty up if it was the last one, and returns a descriptor that keeps the number in use:
// the slave, which is hung up too and leads nowhere any more. Programs that have it open do not notice. It is -1 if the slave
// cannot be opened: TIOCEXCL excludes all others, and before Linux 4.13 only its path leads to it. The master is then still
// open.
func hangUp(master int) (keeps int) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_CLOEXEC
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
	if errno != 0 {
		return -1
	}
	_ = unix.Close(master)
	return int(slave)
}
