//go:build amd64 || arm64

package run

import (
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Calls with a path. Most have nothing to do with the port, and are performed by the kernel.

// pathCall is a call with a path: what to look up, and what to do with it.
type pathCall struct {
	lookup
	entry
	args  []uint64 // the path and what follows
	flags int      // of an open
}

// readPathCall reads the arguments of a call with a path, from its registers and the program's memory.
func (c *call) readPathCall(e entry) (a pathCall, err error) {
	a = pathCall{lookup: lookup{tid: c.n.TID, dir: unix.AT_FDCWD, follow: true}, entry: e, args: c.n.Data.Args[:]}
	if e.at {
		a.dir, a.args = int32(a.args[0]), a.args[1:]
	}
	if a.pathname, err = readString(c.n.TID, c.address(a.args[0])); err != nil {
		return a, err
	}
	switch e.kind {
	case kindOpen:
		a.flags = int(int32(a.args[1]))
	case kindCreate:
		a.flags = unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC
	case kindOpen2:
		var how [24]byte // struct open_how
		if err := readMemory(c.n.TID, c.address(a.args[1]), how[:]); err != nil {
			return a, err
		}
		a.flags, a.resolveFlags = int(binary.NativeEndian.Uint64(how[:])), binary.NativeEndian.Uint64(how[16:])
	}
	switch e.rule {
	case followNever:
		a.follow = false
	case nofollowFlag1, nofollowFlag2:
		a.follow = a.args[1+int(e.rule-nofollowFlag1)]&unix.AT_SYMLINK_NOFOLLOW == 0
	}
	if a.flags&unix.O_NOFOLLOW != 0 || a.flags&unix.O_CREAT != 0 && a.flags&unix.O_EXCL != 0 {
		a.follow = false
	}
	return a, nil
}

// opens reports whether the call opens the file at the path.
func (e entry) opens() bool { return e.kind == kindOpen || e.kind == kindOpen2 || e.kind == kindCreate }

// pathCall performs a call with a path, or lets the kernel do it. A lookup that may block on a file system, which may
// be served by a program of the same tree, runs in a goroutine of its own that ends with the lookup.
func (h *Host) pathCall(c *call, e entry) {
	a, err := c.readPathCall(e)
	if err != nil {
		h.warnUnreadable(err)
		c.continueInKernel()
		return
	}
	p, names, slave := h.current()
	a.names = names
	if e.opens() {
		a.slave = slave
	}
	d, sure := a.resolveFast()
	if sure && d.place == notPort {
		c.continueInKernel()
		return
	}
	entry := c.l.pathCalls.add(c)
	reach := func() {
		if d.place == mappedPath || d.place == portNode {
			entry.setOnPort(c.n.ID)
		}
		h.performPathCall(c, a, p, d)
	}
	if sure {
		reach()
		return
	}
	if !h.lookups.start(func() {
		d = a.resolve()
		reach()
	}) {
		c.continueInKernel()
	}
}

// performPathCall performs a call whose path leads to d. p is nil if there is no port now.
func (h *Host) performPathCall(c *call, a pathCall, p *port, d destination) {
	switch {
	case d.place == notPort, !c.l.valid(c.n.ID):
		c.continueInKernel()
	case d.place == belowMapped:
		c.fail(unix.ENOTDIR)
	case d.place == portNode && (p == nil || !a.opens()), d.place == mappedDirectory && p == nil:
		c.continueInKernel()
	case p == nil:
		c.fail(unix.ENOENT)
	case d.place == mappedDirectory:
		d.metadataCall(c, a)
	case a.opens():
		h.performOpen(c, p, d, a.flags)
	default:
		p.metadataCall(c, a.kind, a.args)
	}
}

// notPortOpen are flags of an open that asks for something other than the port.
const notPortOpen = unix.O_PATH | unix.O_DIRECTORY | unix.O_EXCL

// performOpen performs an open of the port.
func (h *Host) performOpen(c *call, p *port, d destination, flags int) {
	switch {
	case d.place == portNode && flags&notPortOpen != 0:
		c.continueInKernel()
	case flags&unix.O_DIRECTORY != 0:
		c.fail(unix.ENOTDIR)
	case flags&unix.O_CREAT != 0 && flags&unix.O_EXCL != 0:
		c.fail(unix.EEXIST)
	case flags&unix.O_PATH != 0:
		c.fail(unix.EOPNOTSUPP) // ADDFD cannot add an O_PATH descriptor
	default:
		p.openCall(c, flags, d.kernelSame)
	}
}

// checkPaths validates the paths of --as.
func checkPaths(as []string) error {
	for _, pattern := range as {
		if _, err := path.Match(pattern, ""); err != nil || !path.IsAbs(pattern) || path.Clean(pattern) != pattern || strings.ContainsRune(pattern, 0) {
			return fmt.Errorf("%q: want an absolute path such as /dev/ttyS0, or a pattern such as /dev/ttyUSB*", pattern)
		}
	}
	return nil
}

// isPTYSlave reports whether a file is the slave of any pty: a bind mount may refer to the port's slave before a hangup.
func isPTYSlave(st *unix.Stat_t) bool {
	const first, last = 136, 143 // UNIX98_PTY_SLAVE_MAJOR and the following majors
	major := unix.Major(st.Rdev)
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && major >= first && major <= last
}
