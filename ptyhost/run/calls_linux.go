//go:build amd64 || arm64

package run

import "golang.org/x/sys/unix"

// kind is what a trapped system call does, whatever its number and variant.
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

// followRule says whether a symbolic link at the end of a call's path is followed; the flags of an open can override it.
type followRule uint8

const (
	followAlways followRule = iota
	followNever
	nofollowFlag1 // unless the first argument after the path has AT_SYMLINK_NOFOLLOW
	nofollowFlag2 // unless the second argument after the path has it
)

// entry is a trapped system call: what it does, whether a directory's descriptor precedes the path, and whether it
// follows a link at the path's end.
type entry struct {
	kind kind
	at   bool
	rule followRule
}

// abi is one system call table. Programs of another word size use another one on the same machine.
type abi struct {
	audit  uint32 // AUDIT_ARCH_*
	calls  map[uint32]entry
	stat64 stat64Layout
	narrow bool // pointers in structures have 32 bits
}

// withCommonCalls adds the calls that have the same number everywhere: openat2 and faccessat2.
func withCommonCalls(calls map[uint32]entry) map[uint32]entry {
	calls[unix.SYS_OPENAT2] = entry{kindOpen2, true, followAlways}
	calls[unix.SYS_FACCESSAT2] = entry{kindAccess, true, nofollowFlag2}
	return calls
}

// abiOf returns the ABI with this AUDIT_ARCH_*; nil if it is unknown.
func abiOf(audit uint32) *abi {
	for i := range abis {
		if abis[i].audit == audit {
			return &abis[i]
		}
	}
	return nil
}

// serialRequests are the ioctls that are trapped on every descriptor: a filter sees the number of a descriptor, not its
// file.
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
