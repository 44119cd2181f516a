package run

import "golang.org/x/sys/unix"

// abis are the ABIs of this machine: the native one first, then that of 32-bit programs. x32 programs use the numbers
// of the first with bit 30 set, which filter and tables mask out; only their ioctl has a number of its own.
var abis = []abi{
	{audit: unix.AUDIT_ARCH_X86_64, calls: withCommonCalls(map[uint32]entry{
		unix.SYS_IOCTL: {kindIoctl, false, followAlways}, x32Ioctl: {kindIoctl, false, followAlways},
		unix.SYS_OPEN: {kindOpen, false, followAlways}, unix.SYS_OPENAT: {kindOpen, true, followAlways}, unix.SYS_CREAT: {kindCreate, false, followAlways},
		unix.SYS_STAT: {kindStat, false, followAlways}, unix.SYS_LSTAT: {kindStat, false, followNever}, unix.SYS_NEWFSTATAT: {kindStat, true, nofollowFlag2},
		unix.SYS_STATX:  {kindStatx, true, nofollowFlag1},
		unix.SYS_ACCESS: {kindAccess, false, followAlways}, unix.SYS_FACCESSAT: {kindAccess, true, followAlways},
		unix.SYS_READLINK: {kindReadlink, false, followNever}, unix.SYS_READLINKAT: {kindReadlink, true, followNever},
		unix.SYS_GETXATTR: {kindGetXattr, false, followAlways}, unix.SYS_LGETXATTR: {kindGetXattr, false, followNever},
		unix.SYS_LISTXATTR: {kindListXattr, false, followAlways}, unix.SYS_LLISTXATTR: {kindListXattr, false, followNever},
	})},
	{audit: unix.AUDIT_ARCH_I386, narrow: true, stat64: packedStat64, calls: withCommonCalls(map[uint32]entry{
		54: {kindIoctl, false, followAlways},
		5:  {kindOpen, false, followAlways}, 295: {kindOpen, true, followAlways}, 8: {kindCreate, false, followAlways},
		195: {kindStat64, false, followAlways}, 196: {kindStat64, false, followNever}, 300: {kindStat64, true, nofollowFlag2},
		383: {kindStatx, true, nofollowFlag1},
		33:  {kindAccess, false, followAlways}, 307: {kindAccess, true, followAlways},
		85: {kindReadlink, false, followNever}, 305: {kindReadlink, true, followNever},
		229: {kindGetXattr, false, followAlways}, 230: {kindGetXattr, false, followNever}, 232: {kindListXattr, false, followAlways}, 233: {kindListXattr, false, followNever},
	})},
}

const (
	x32Bit   = 0x40000000
	x32Ioctl = 514
)

// packedStat64 is the layout of i386, which does not align 64-bit members.
func packedStat64(st *unix.Stat_t) []byte { return writeStat64(st, 44, 52, 56, 64, 88, 96) }

// setNlink and setBlksize set members whose width depends on the architecture.
func setNlink(st *unix.Stat_t, n uint32) { st.Nlink = uint64(n) }

func setBlksize(st *unix.Stat_t, n uint32) { st.Blksize = int64(n) }
