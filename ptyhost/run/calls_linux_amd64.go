package run

import "golang.org/x/sys/unix"

// abis are the sets of this machine: its own first, then that of 32-bit programs. x32 programs have the numbers of the
// first with bit 30 set, which the filter and the tables ignore, but for ioctl.
var abis = []abi{
	{audit: unix.AUDIT_ARCH_X86_64, calls: common(map[uint32]entry{
		unix.SYS_IOCTL: {kindIoctl, false}, x32Ioctl: {kindIoctl, false},
		unix.SYS_OPEN: {kindOpen, false}, unix.SYS_OPENAT: {kindOpen, true}, unix.SYS_CREAT: {kindCreate, false},
		unix.SYS_STAT: {kindStat, false}, unix.SYS_LSTAT: {kindStat, false}, unix.SYS_NEWFSTATAT: {kindStat, true},
		unix.SYS_STATX:  {kindStatx, true},
		unix.SYS_ACCESS: {kindAccess, false}, unix.SYS_FACCESSAT: {kindAccess, true},
		unix.SYS_READLINK: {kindReadlink, false}, unix.SYS_READLINKAT: {kindReadlink, true},
		unix.SYS_GETXATTR: {kindGetXattr, false}, unix.SYS_LGETXATTR: {kindGetXattr, false},
		unix.SYS_LISTXATTR: {kindListXattr, false}, unix.SYS_LLISTXATTR: {kindListXattr, false},
	})},
	{audit: unix.AUDIT_ARCH_I386, narrow: true, stat64: packedStat64, calls: common(map[uint32]entry{
		54: {kindIoctl, false},
		5:  {kindOpen, false}, 295: {kindOpen, true}, 8: {kindCreate, false},
		195: {kindStat64, false}, 196: {kindStat64, false}, 300: {kindStat64, true},
		383: {kindStatx, true},
		33:  {kindAccess, false}, 307: {kindAccess, true},
		85: {kindReadlink, false}, 305: {kindReadlink, true},
		229: {kindGetXattr, false}, 230: {kindGetXattr, false}, 232: {kindListXattr, false}, 233: {kindListXattr, false},
	})},
}

const (
	x32Bit   = 0x40000000
	x32Ioctl = 514
)

// packedStat64 is that of i386, which puts 64-bit numbers at any place.
func packedStat64(st *unix.Stat_t) []byte { return writeStat64(st, 44, 52, 56, 64, 88, 96) }
