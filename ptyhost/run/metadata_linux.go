//go:build amd64 || arm64

package run

import (
	"encoding/binary"
	"hash/fnv"

	"golang.org/x/sys/unix"
)

// Calls that inspect a path without opening it: stat(2), access(2), readlink(2), getxattr(2) and their variants.

// statxSync are the flags of statx that say how fresh the result must be: AT_STATX_SYNC_TYPE.
const statxSync = 0x6000

// metadataCall answers a call on a path that is mapped to the port. The program finds the pty's slave, a character
// device.
func (p *port) metadataCall(c *call, k kind, args []uint64) {
	switch k {
	case kindStat, kindStat64:
		var st unix.Stat_t
		if err := unix.Stat(p.Name(), &st); err != nil {
			c.fail(errnoOf(err))
			return
		}
		if k == kindStat64 {
			c.writeResult(args[1], c.abi.stat64(&st))
			return
		}
		c.writeResult(args[1], bytesOf(&st))
	case kindStatx:
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, p.Name(), int(args[1])&statxSync, int(args[2]), &st); err != nil {
			c.fail(errnoOf(err))
			return
		}
		c.writeResult(args[3], bytesOf(&st))
	case kindAccess:
		if args[1]&unix.X_OK != 0 {
			c.fail(unix.EACCES) // no device is executable
			return
		}
		c.returnValue(0)
	default:
		c.withoutLinkOrXattr(k)
	}
}

// withoutLinkOrXattr answers a call on a file that is no symbolic link and has no extended attributes. It returns false if
// the call asks for neither.
func (c *call) withoutLinkOrXattr(k kind) (answered bool) {
	switch k {
	case kindReadlink:
		c.fail(unix.EINVAL) // no link
	case kindGetXattr:
		c.fail(unix.ENODATA)
	case kindListXattr:
		c.returnValue(0)
	default:
		return false
	}
	return true
}

// searchable is the mode of a directory that does not exist: a program may pass through it, but not list it.
const searchable = unix.S_IFDIR | 0o111

// metadataCall answers a call on a directory of a mapped path that does not exist, as far as such a directory can be
// faked.
func (d destination) metadataCall(c *call, a pathCall) {
	id := fnv.New64a() // its inode number: one per name, because programs compare them
	_, _ = id.Write([]byte(d.name))
	near := d.existing
	near.Ino, near.Mode, near.Nlink = id.Sum64(), searchable, 2
	switch a.kind {
	case kindStat, kindStat64:
		st := statFromStatx(&near)
		if a.kind == kindStat64 {
			c.writeResult(a.args[1], c.abi.stat64(&st))
			return
		}
		c.writeResult(a.args[1], bytesOf(&st))
	case kindStatx:
		c.writeResult(a.args[3], bytesOf(&near))
	case kindAccess:
		if a.args[1]&(unix.R_OK|unix.W_OK) != 0 {
			c.fail(unix.EACCES)
			return
		}
		c.returnValue(0)
	default:
		if !c.withoutLinkOrXattr(a.kind) {
			c.fail(openDirectoryErrno(a.flags))
		}
	}
}

// openDirectoryErrno returns the error of an open of such a directory.
func openDirectoryErrno(flags int) unix.Errno {
	switch {
	case flags&unix.O_PATH != 0:
		return unix.EOPNOTSUPP // ADDFD cannot add an O_PATH descriptor
	case flags&unix.O_CREAT != 0 && flags&unix.O_EXCL != 0:
		return unix.EEXIST
	case flags&(unix.O_CREAT|unix.O_ACCMODE) != 0:
		return unix.EISDIR
	}
	return unix.EACCES
}

// statFromStatx converts a struct statx to a struct stat.
func statFromStatx(x *unix.Statx_t) (st unix.Stat_t) {
	st.Dev, st.Ino, st.Mode, st.Uid, st.Gid = unix.Mkdev(x.Dev_major, x.Dev_minor), x.Ino, uint32(x.Mode), x.Uid, x.Gid
	setNlink(&st, x.Nlink)
	st.Size, st.Blocks = int64(x.Size), int64(x.Blocks)
	setBlksize(&st, x.Blksize)
	st.Atim, st.Mtim, st.Ctim = timespecOf(x.Atime), timespecOf(x.Mtime), timespecOf(x.Ctime)
	return st
}

func timespecOf(t unix.StatxTimestamp) unix.Timespec {
	return unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}
}

// stat64Layout encodes a struct stat64 of a 32-bit system.
type stat64Layout func(*unix.Stat_t) []byte

// writeStat64 encodes a struct stat64 whose later members have these offsets; whole is its size.
func writeStat64(st *unix.Stat_t, size, blockSize, blocks, times, inode, whole int) []byte {
	b := make([]byte, whole)
	e := binary.NativeEndian
	e.PutUint64(b, st.Dev)
	e.PutUint32(b[12:], uint32(st.Ino))
	e.PutUint32(b[16:], st.Mode)
	e.PutUint32(b[20:], uint32(st.Nlink))
	e.PutUint32(b[24:], st.Uid)
	e.PutUint32(b[28:], st.Gid)
	e.PutUint64(b[32:], st.Rdev)
	e.PutUint64(b[size:], uint64(st.Size))
	e.PutUint32(b[blockSize:], uint32(st.Blksize))
	e.PutUint64(b[blocks:], uint64(st.Blocks))
	for i, t := range []unix.Timespec{st.Atim, st.Mtim, st.Ctim} {
		e.PutUint32(b[times+8*i:], uint32(t.Sec))
		e.PutUint32(b[times+8*i+4:], uint32(t.Nsec))
	}
	e.PutUint64(b[inode:], st.Ino)
	return b
}
