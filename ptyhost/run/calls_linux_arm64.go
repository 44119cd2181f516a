package run

import "golang.org/x/sys/unix"

// abis are the ABIs of this machine: the native one first, then that of 32-bit programs (EABI).
var abis = []abi{
	{audit: unix.AUDIT_ARCH_AARCH64, calls: withCommonCalls(map[uint32]entry{
		unix.SYS_IOCTL:   {kindIoctl, false, followAlways},
		unix.SYS_OPENAT:  {kindOpen, true, followAlways},
		unix.SYS_FSTATAT: {kindStat, true, nofollowFlag2}, unix.SYS_STATX: {kindStatx, true, nofollowFlag1},
		unix.SYS_FACCESSAT:  {kindAccess, true, followAlways},
		unix.SYS_READLINKAT: {kindReadlink, true, followNever},
		unix.SYS_GETXATTR:   {kindGetXattr, false, followAlways}, unix.SYS_LGETXATTR: {kindGetXattr, false, followNever},
		unix.SYS_LISTXATTR: {kindListXattr, false, followAlways}, unix.SYS_LLISTXATTR: {kindListXattr, false, followNever},
	})},
	{audit: unix.AUDIT_ARCH_ARM, narrow: true, stat64: alignedStat64, calls: withCommonCalls(map[uint32]entry{
		54: {kindIoctl, false, followAlways},
		5:  {kindOpen, false, followAlways}, 322: {kindOpen, true, followAlways}, 8: {kindCreate, false, followAlways},
		195: {kindStat64, false, followAlways}, 196: {kindStat64, false, followNever}, 327: {kindStat64, true, nofollowFlag2},
		397: {kindStatx, true, nofollowFlag1},
		33:  {kindAccess, false, followAlways}, 334: {kindAccess, true, followAlways},
		85: {kindReadlink, false, followNever}, 332: {kindReadlink, true, followNever},
		229: {kindGetXattr, false, followAlways}, 230: {kindGetXattr, false, followNever}, 232: {kindListXattr, false, followAlways}, 233: {kindListXattr, false, followNever},
	})},
}

// There is no second ABI here that shares the numbers of the first, as x32 does on amd64.
const (
	x32Bit   = 0
	x32Ioctl = 0
)

// alignedStat64 is the layout of ARM, which aligns 64-bit members.
func alignedStat64(st *unix.Stat_t) []byte { return writeStat64(st, 48, 56, 64, 72, 96, 104) }

// setNlink and setBlksize set members whose width depends on the architecture.
func setNlink(st *unix.Stat_t, n uint32) { st.Nlink = n }

func setBlksize(st *unix.Stat_t, n uint32) { st.Blksize = int32(n) }
