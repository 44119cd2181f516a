package run

import "golang.org/x/sys/unix"

// abis are the sets of this machine: its own first, then that of 32-bit programs (EABI).
var abis = []abi{
	{audit: unix.AUDIT_ARCH_AARCH64, calls: common(map[uint32]entry{
		unix.SYS_IOCTL:   {kindIoctl, false, follows},
		unix.SYS_OPENAT:  {kindOpen, true, follows},
		unix.SYS_FSTATAT: {kindStat, true, flag2}, unix.SYS_STATX: {kindStatx, true, flag1},
		unix.SYS_FACCESSAT:  {kindAccess, true, follows},
		unix.SYS_READLINKAT: {kindReadlink, true, never},
		unix.SYS_GETXATTR:   {kindGetXattr, false, follows}, unix.SYS_LGETXATTR: {kindGetXattr, false, never},
		unix.SYS_LISTXATTR: {kindListXattr, false, follows}, unix.SYS_LLISTXATTR: {kindListXattr, false, never},
	})},
	{audit: unix.AUDIT_ARCH_ARM, narrow: true, stat64: alignedStat64, calls: common(map[uint32]entry{
		54: {kindIoctl, false, follows},
		5:  {kindOpen, false, follows}, 322: {kindOpen, true, follows}, 8: {kindCreate, false, follows},
		195: {kindStat64, false, follows}, 196: {kindStat64, false, never}, 327: {kindStat64, true, flag2},
		397: {kindStatx, true, flag1},
		33:  {kindAccess, false, follows}, 334: {kindAccess, true, follows},
		85: {kindReadlink, false, never}, 332: {kindReadlink, true, never},
		229: {kindGetXattr, false, follows}, 230: {kindGetXattr, false, never}, 232: {kindListXattr, false, follows}, 233: {kindListXattr, false, never},
	})},
}

// No program here has numbers of two sets in one.
const (
	x32Bit   = 0
	x32Ioctl = 0
)

// alignedStat64 is that of ARM, which aligns 64-bit numbers.
func alignedStat64(st *unix.Stat_t) []byte { return writeStat64(st, 48, 56, 64, 72, 96, 104) }

// setLinks and setBlock set what has another width on other machines.
func setLinks(st *unix.Stat_t, n uint32) { st.Nlink = n }

func setBlock(st *unix.Stat_t, n uint32) { st.Blksize = int32(n) }
