//go:build amd64 || arm64

package run

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Calls with a path. Most of them are none of ours, and the kernel performs them.

// place is where a path leads.
type place uint8

const (
	elsewhere place = iota
	here            // the port's own path, which is in the file system
	mapped          // a path that stands for the port
)

// path performs a call with a path, or lets the kernel perform it.
func (h *Host) path(c *call, e entry) {
	args := c.n.Data.Args[:]
	dir := int32(unix.AT_FDCWD)
	if e.at {
		dir, args = int32(args[0]), args[1:]
	}
	text, err := readString(c.n.TID, c.address(args[0]))
	if err != nil {
		h.unreadable(err)
		c.proceed()
		return
	}
	p, where := h.find(c, dir, text)
	if where == elsewhere || !c.l.valid(c.n.ID) {
		c.proceed()
		return
	}
	switch e.kind {
	case kindOpen:
		h.open(c, p, where, int(args[1]))
	case kindCreate:
		h.open(c, p, where, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC)
	case kindOpen2:
		var how [8]byte // the flags of struct open_how; the rest is about the way to the file
		if c.take(args[1], how[:]) {
			h.open(c, p, where, int(binary.NativeEndian.Uint64(how[:])))
		}
	default:
		if where == here {
			c.proceed()
			return
		}
		if p == nil {
			c.fail(unix.ENOENT)
			return
		}
		p.lookAt(c, e.kind, args)
	}
}

// unusual are flags of an open that asks for something else than the port.
const unusual = unix.O_PATH | unix.O_DIRECTORY | unix.O_EXCL

// open performs an open of the port.
func (h *Host) open(c *call, p *port, where place, flags int) {
	switch {
	case where == here && (p == nil || flags&(unusual|unix.O_NOFOLLOW) != 0):
		c.proceed()
	case p == nil:
		c.fail(unix.ENOENT)
	case flags&unix.O_DIRECTORY != 0:
		c.fail(unix.ENOTDIR)
	case flags&unix.O_CREAT != 0 && flags&unix.O_EXCL != 0:
		c.fail(unix.EEXIST)
	case flags&unix.O_PATH != 0:
		c.fail(unix.EOPNOTSUPP) // the kernel injects no such descriptor
	default:
		p.openFor(c, flags, where == here)
	}
}

// find says where a path leads. p is nil where the port that a path stands for is not there.
func (h *Host) find(c *call, dir int32, text string) (p *port, where place) {
	if text == "" {
		return nil, elsewhere
	}
	h.mu.Lock()
	p, name, bases := h.port, h.name, h.bases
	h.mu.Unlock()
	base := path.Base(text)
	if !slices.ContainsFunc(bases, func(pattern string) bool { return matches(pattern, base) }) {
		return nil, elsewhere
	}
	if !path.IsAbs(text) {
		start, err := os.Readlink(c.start(dir))
		if err != nil {
			return nil, elsewhere
		}
		text = path.Join(start, text)
	}
	text = path.Clean(text)
	switch {
	case slices.ContainsFunc(h.as, func(pattern string) bool { return matches(pattern, text) }):
		return p, mapped
	case p != nil && (text == p.claim.Path() || text == name):
		return p, here
	}
	return nil, elsewhere
}

// start is the link to the directory where a relative path begins.
func (c *call) start(dir int32) string {
	if dir == unix.AT_FDCWD {
		return fmt.Sprintf("/proc/%d/cwd", c.n.TID)
	}
	return fmt.Sprintf("/proc/%d/fd/%d", c.n.TID, dir)
}

func matches(pattern, text string) bool {
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}

// checkPaths looks at the paths that shall stand for the port.
func checkPaths(as []string) error {
	for _, pattern := range as {
		if _, err := path.Match(pattern, ""); err != nil || !path.IsAbs(pattern) || path.Clean(pattern) != pattern || strings.ContainsRune(pattern, 0) {
			return fmt.Errorf("%q: want an absolute path such as /dev/ttyS0, or a pattern such as /dev/ttyUSB*", pattern)
		}
	}
	return nil
}

// statxSync are the flags of statx that say how fresh the answer shall be: AT_STATX_SYNC_TYPE.
const statxSync = 0x6000

// lookAt answers a program that looks at a path which stands for the port: it finds the pty's slave, a character device.
func (p *port) lookAt(c *call, k kind, args []uint64) {
	switch k {
	case kindStat, kindStat64:
		var st unix.Stat_t
		if err := unix.Stat(p.Name(), &st); err != nil {
			c.fail(errnoOf(err))
			return
		}
		if k == kindStat64 {
			c.give(args[1], c.abi.stat64(&st))
			return
		}
		c.give(args[1], bytesOf(&st))
	case kindStatx:
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, p.Name(), int(args[1])&statxSync, int(args[2]), &st); err != nil {
			c.fail(errnoOf(err))
			return
		}
		c.give(args[3], bytesOf(&st))
	case kindAccess:
		if args[1]&unix.X_OK != 0 {
			c.fail(unix.EACCES) // no device can be executed
			return
		}
		c.answer(0)
	case kindReadlink:
		c.fail(unix.EINVAL) // it is none
	case kindGetXattr:
		c.fail(unix.ENODATA)
	case kindListXattr:
		c.answer(0)
	}
}

// stat64Layout writes a struct stat64 of a 32-bit system.
type stat64Layout func(*unix.Stat_t) []byte

// writeStat64 writes a struct stat64, whose later members stand at these places.
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
