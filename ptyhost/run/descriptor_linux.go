//go:build amd64 || arm64

package run

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Which file a program's descriptor leads to, found without asking the file's own file system: it may be a dead server's, or
// one whose server is itself a program that waits for the goroutine which asks.

// fileID says which file a descriptor or a path leads to.
type fileID struct{ device, inode uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{st.Dev, st.Ino} }

// slaves is where the slaves of ptys are.
const ptsDir = "/dev/pts/"

// errAsk says that only the file system itself can tell.
var errNeedStat = errors.New("the file is on no mount that is known here")

// spot is a descriptor of a thread.
type fdKey struct {
	tid uint32
	fd  int32
}

// spotsMost bounds how many spots are remembered.
const maxKnownFDs = 1024

// descriptor is the file that the program's descriptor leads to. It is the zero value for a file that cannot be a slave. The
// error may be errAsk: then ask may wait, as long as a server likes. Only the goroutine of
// the shift calls it.
//
// A spot that had a port's slave the last time is asked at once, which is half of the cost. Should the program have put a
// file of another kind there since, its file system is asked for what it knows without its server.
func (c *call) fileOf(fd int32) (fileID, error) {
	s := fdKey{c.n.TID, fd}
	if _, ok := c.receiver.knownFDs[s]; ok {
		if id, err := c.statFD(fd); err == nil && c.host.portOf(id) != nil {
			return id, nil
		}
		delete(c.receiver.knownFDs, s)
	}
	id, err := c.findFile(fd)
	if err == nil && id != (fileID{}) && c.host.portOf(id) != nil {
		if len(c.receiver.knownFDs) >= maxKnownFDs {
			clear(c.receiver.knownFDs)
		}
		c.receiver.knownFDs[s] = struct{}{}
	}
	return id, err
}

// find is descriptor for a spot that nothing is known of.
func (c *call) findFile(fd int32) (fileID, error) {
	var buf [len(ptsDir) + 32]byte // a longer text is none of a slave here
	n, err := unix.Readlink(c.procPath("fd", fd), buf[:])
	switch {
	case err != nil || n == 0:
		return fileID{}, err
	case bytes.HasPrefix(buf[:n], []byte(ptsDir)):
		return c.statFD(fd)
	case buf[0] != '/': // a pipe, a socket
		return fileID{}, nil
	}
	return c.fileByMount(fd)
}

// ask is the file that the program's descriptor leads to, as its file system says. FUSE, NFS, CIFS and others say it without
// their server then, but not all do.
func (c *call) statFD(fd int32) (fileID, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, c.procPath("fd", fd), unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st)
	return fileID{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}, err
}

// proc is a file of a descriptor of the program.
func (c *call) procPath(what string, fd int32) string {
	var text [48]byte
	p := strconv.AppendUint(append(text[:0], "/proc/"...), uint64(c.n.TID), 10)
	p = append(append(append(p, '/'), what...), '/')
	return string(strconv.AppendInt(p, int64(fd), 10))
}

// elsewhere is find for a file that has another path: a slave is seen so from a chroot, through a bind mount or in
// another mount namespace. What the kernel tells of open files and of mounts costs no I/O.
func (c *call) fileByMount(fd int32) (fileID, error) {
	info, err := os.ReadFile(c.procPath("fdinfo", fd))
	if err != nil {
		return fileID{}, err
	}
	inode := procStatus(info).number("ino:", 10) // since Linux 5.14
	if inode != 0 && !c.host.hasInode(inode) {
		return fileID{}, nil
	}
	mount := strconv.FormatUint(procStatus(info).number("mnt_id:", 10), 10)
	for _, whose := range []string{strconv.Itoa(int(c.n.TID)), "self"} { // a descriptor can come from elsewhere
		table, _ := os.ReadFile("/proc/" + whose + "/mountinfo")
		device, ok := devptsMount(table, mount)
		switch {
		case !ok:
			continue
		case device == 0:
			return fileID{}, nil
		case inode == 0:
			return c.statFD(fd) // slaves wait for nobody
		}
		return fileID{device, inode}, nil
	}
	return fileID{}, errNeedStat
}

// slavesOf finds a mount in a table as /proc/self/mountinfo has it: ok. device is that of its file system, where it is one of
// slaves; else 0.
func devptsMount(table []byte, mount string) (device uint64, ok bool) {
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line) // id, parent, major:minor, root, point, options, more options, "-", type, source
		if len(fields) < 3 || fields[0] != mount {
			continue
		}
		_, kind, _ := strings.Cut(line, " - ")
		major, minor, _ := strings.Cut(fields[2], ":")
		a, err := strconv.ParseUint(major, 10, 32)
		b, err2 := strconv.ParseUint(minor, 10, 32)
		if err != nil || err2 != nil || !strings.HasPrefix(kind, "devpts ") {
			return 0, true
		}
		return unix.Mkdev(uint32(a), uint32(b)), true
	}
	return 0, false
}

// knows reports whether a port's slave has this inode.
func (h *Host) hasInode(inode uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.ports {
		if id.inode == inode {
			return true
		}
	}
	return false
}
