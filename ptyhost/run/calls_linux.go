//go:build amd64 || arm64

package run

import "golang.org/x/sys/unix"

// kind is what a trapped system call does, whatever its number and form.
type kind uint8

const (
	kindIoctl     kind = iota + 1
	kindOpen           // path, flags, mode
	kindOpen2          // path, struct open_how, its size
	kindCreate         // path, mode
	kindStat           // path, struct stat
	kindStat64         // path, struct stat64 of a 32-bit system
	kindStatx          // path, flags, mask, struct statx
	kindAccess         // path, mode
	kindReadlink       // path, buffer, its size
	kindGetXattr       // path, name, buffer, its size
	kindListXattr      // path, buffer, its size
)

// links says whether a link at the end of a call's path is followed, beside what flags of an open say.
type links uint8

const (
	follows links = iota
	never
	flag1 // unless AT_SYMLINK_NOFOLLOW is in the first argument after the path
	flag2 // in the second
)

// entry is a trapped system call: its kind, whether a directory's descriptor comes before the path, and what a link at the
// path's end means.
type entry struct {
	kind  kind
	at    bool
	links links
}

// abi is a set of system calls: a program of another word size has another one on the same machine.
type abi struct {
	audit  uint32 // AUDIT_ARCH_*
	calls  map[uint32]entry
	stat64 stat64Layout
	narrow bool // pointers in structures have 32 bits
}

// common are the calls that every system has with the same number: openat2, faccessat2.
func common(calls map[uint32]entry) map[uint32]entry {
	calls[unix.SYS_OPENAT2] = entry{kindOpen2, true, follows}
	calls[unix.SYS_FACCESSAT2] = entry{kindAccess, true, flag2}
	return calls
}

// abiOf finds the set of a notification; nil: unknown.
func abiOf(audit uint32) *abi {
	for i := range abis {
		if abis[i].audit == audit {
			return &abis[i]
		}
	}
	return nil
}

// serialRequests are the ioctls that are trapped, on whichever descriptor: the filter cannot tell one from another.
var serialRequests = []uint32{
	unix.TCGETS, unix.TCSETS, unix.TCSETSW, unix.TCSETSF,
	unix.TCGETS2, unix.TCSETS2, unix.TCSETSW2, unix.TCSETSF2,
	unix.TCGETA, unix.TCSETA, unix.TCSETAW, unix.TCSETAF,
	unix.TIOCMGET, unix.TIOCMSET, unix.TIOCMBIS, unix.TIOCMBIC, unix.TIOCMIWAIT, unix.TIOCGICOUNT,
	unix.TCSBRK, unix.TCSBRKP, unix.TIOCSBRK, unix.TIOCCBRK,
	unix.TCFLSH, unix.TIOCOUTQ, unix.TIOCGSERIAL, unix.TIOCSSERIAL, unix.TIOCSERGETLSR,
	unix.TIOCGSOFTCAR, unix.TIOCSSOFTCAR,
	unix.TIOCEXCL, unix.TIOCNXCL, unix.TIOCGEXCL,
}
