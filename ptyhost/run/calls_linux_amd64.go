package run

import "golang.org/x/sys/unix"

// abis are the sets of this machine: its own first, then that of 32-bit programs. x32 programs have the numbers of the
// first with bit 30 set, which the filter and the tables ignore, but for ioctl.
var abis = []abi{
	{audit: unix.AUDIT_ARCH_X86_64, calls: common(map[uint32]entry{
		unix.SYS_IOCTL: {kindIoctl, false, follows}, x32Ioctl: {kindIoctl, false, follows},
		unix.SYS_OPEN: {kindOpen, false, follows}, unix.SYS_OPENAT: {kindOpen, true, follows}, unix.SYS_CREAT: {kindCreate, false, follows},
		unix.SYS_STAT: {kindStat, false, follows}, unix.SYS_LSTAT: {kindStat, false, never}, unix.SYS_NEWFSTATAT: {kindStat, true, flag2},
		unix.SYS_STATX:  {kindStatx, true, flag1},
		unix.SYS_ACCESS: {kindAccess, false, follows}, unix.SYS_FACCESSAT: {kindAccess, true, follows},
		unix.SYS_READLINK: {kindReadlink, false, never}, unix.SYS_READLINKAT: {kindReadlink, true, never},
		unix.SYS_GETXATTR: {kindGetXattr, false, follows}, unix.SYS_LGETXATTR: {kindGetXattr, false, never},
		unix.SYS_LISTXATTR: {kindListXattr, false, follows}, unix.SYS_LLISTXATTR: {kindListXattr, false, never},
	})},
	{audit: unix.AUDIT_ARCH_I386, narrow: true, stat64: packedStat64, calls: common(map[uint32]entry{
		54: {kindIoctl, false, follows},
		5:  {kindOpen, false, follows}, 295: {kindOpen, true, follows}, 8: {kindCreate, false, follows},
		195: {kindStat64, false, follows}, 196: {kindStat64, false, never}, 300: {kindStat64, true, flag2},
		383: {kindStatx, true, flag1},
		33:  {kindAccess, false, follows}, 307: {kindAccess, true, follows},
		85: {kindReadlink, false, never}, 305: {kindReadlink, true, never},
		229: {kindGetXattr, false, follows}, 230: {kindGetXattr, false, never}, 232: {kindListXattr, false, follows}, 233: {kindListXattr, false, never},
	})},
}

const (
	x32Bit   = 0x40000000
	x32Ioctl = 514
)

// packedStat64 is that of i386, which puts 64-bit numbers at any place.
func packedStat64(st *unix.Stat_t) []byte { return writeStat64(st, 44, 52, 56, 64, 88, 96) }

// setLinks and setBlock set what has another width on other machines.
func setLinks(st *unix.Stat_t, n uint32) { st.Nlink = uint64(n) }

func setBlock(st *unix.Stat_t, n uint32) { st.Blksize = int64(n) }
