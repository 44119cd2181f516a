package devpath

import "golang.org/x/sys/unix"

// hangUp closes a master, which hangs the pty up if it was the last descriptor of it, and returns a descriptor that
// keeps the pty's number in use: the slave, which is hung up too. The open of the slave is invisible to programs that
// have it open. hangUp returns -1, and leaves the master open, if the slave cannot be opened: because of TIOCEXCL, or
// before Linux 4.13, which has no TIOCGPTPEER.
func hangUp(master int) (keeps int) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_CLOEXEC
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
	if errno != 0 {
		return -1
	}
	_ = unix.Close(master)
	return int(slave)
}
