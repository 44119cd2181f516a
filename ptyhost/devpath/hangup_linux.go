package devpath

import "golang.org/x/sys/unix"

// hangUp closes a master, which hangs the pty up where it was the last one, and returns a descriptor that keeps the number:
// the slave, which was hung up too and which leads nowhere any more; a program that has it open is none the wiser. It is -1
// where the slave cannot be opened: TIOCEXCL keeps it from all others, and before Linux 4.13 only its path leads to it. Then
// the master is open still.
func hangUp(master int) (keeps int) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_CLOEXEC
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
	if errno != 0 {
		return -1
	}
	_ = unix.Close(master)
	return int(slave)
}
