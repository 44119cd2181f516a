package run

import "golang.org/x/sys/unix"

// abis are the sets of this machine: its own first, then that of 32-bit programs (EABI).
var abis = []abi{
	{audit: unix.AUDIT_ARCH_AARCH64, calls: common(map[uint32]entry{
		unix.SYS_IOCTL:   {kindIoctl, false},
		unix.SYS_OPENAT:  {kindOpen, true},
		unix.SYS_FSTATAT: {kindStat, true}, unix.SYS_STATX: {kindStatx, true},
		unix.SYS_FACCESSAT:  {kindAccess, true},
		unix.SYS_READLINKAT: {kindReadlink, true},
		unix.SYS_GETXATTR:   {kindGetXattr, false}, unix.SYS_LGETXATTR: {kindGetXattr, false},
		unix.SYS_LISTXATTR: {kindListXattr, false}, unix.SYS_LLISTXATTR: {kindListXattr, false},
	})},
	{audit: unix.AUDIT_ARCH_ARM, narrow: true, stat64: alignedStat64, calls: common(map[uint32]entry{
		54: {kindIoctl, false},
		5:  {kindOpen, false}, 322: {kindOpen, true}, 8: {kindCreate, false},
		195: {kindStat64, false}, 196: {kindStat64, false}, 327: {kindStat64, true},
		397: {kindStatx, true},
		33:  {kindAccess, false}, 334: {kindAccess, true},
		85: {kindReadlink, false}, 332: {kindReadlink, true},
		229: {kindGetXattr, false}, 230: {kindGetXattr, false}, 232: {kindListXattr, false}, 233: {kindListXattr, false},
	})},
}

// No program here has numbers of two sets in one.
const (
	x32Bit   = 0
	x32Ioctl = 0
)

// alignedStat64 is that of ARM, which aligns 64-bit numbers.
func alignedStat64(st *unix.Stat_t) []byte { return writeStat64(st, 48, 56, 64, 72, 96, 104) }
