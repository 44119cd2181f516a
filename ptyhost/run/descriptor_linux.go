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

// Which file a program's descriptor refers to, found without asking the file's own file system: its server may be dead,
// or be a program that waits for the very goroutine that asks.

// fileID identifies a file.
type fileID struct{ device, inode uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{st.Dev, st.Ino} }

// ptsDir is the directory of ptys' slaves.
const ptsDir = "/dev/pts/"

// errNeedStat means that only a stat of the file, which may block, can tell.
var errNeedStat = errors.New("the file is on no mount that is known here")

// fdKey is a descriptor of a thread.
type fdKey struct {
	tid uint32
	fd  int32
}

// maxKnownFDs bounds how many descriptors are remembered.
const maxKnownFDs = 1024

// fileOf returns the file that a descriptor of the program refers to; the zero value if that cannot be a pty's slave.
// If the error is errNeedStat, the caller must use statFD, which may block as long as a file server likes. Only the
// receiver's goroutine may call it.
//
// A descriptor that was a port's slave last time is checked with statFD at once, which halves the cost. Should the
// program have put another kind of file there since, most file systems answer that without their server.
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

// findFile is fileOf for a descriptor that is not known.
func (c *call) findFile(fd int32) (fileID, error) {
	var buf [len(ptsDir) + 32]byte // a longer path is no slave's
	n, err := unix.Readlink(c.procPath("fd", fd), buf[:])
	switch {
	case err != nil || n == 0:
		return fileID{}, err
	case bytes.HasPrefix(buf[:n], []byte(ptsDir)):
		return c.statFD(fd)
	case buf[0] != '/': // a pipe or a socket
		return fileID{}, nil
	}
	return c.fileByMount(fd)
}

// statFD returns the file that a descriptor of the program refers to, as its file system reports it. With
// AT_STATX_DONT_SYNC, FUSE, NFS, CIFS and others answer without their server, but not all file systems do.
func (c *call) statFD(fd int32) (fileID, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, c.procPath("fd", fd), unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st)
	return fileID{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}, err
}

// procPath is the path of a descriptor's entry in a directory of /proc/TID.
func (c *call) procPath(what string, fd int32) string {
	var text [48]byte
	p := strconv.AppendUint(append(text[:0], "/proc/"...), uint64(c.n.TID), 10)
	p = append(append(append(p, '/'), what...), '/')
	return string(strconv.AppendInt(p, int64(fd), 10))
}

// fileByMount is findFile for a file under some other path: from a chroot, through a bind mount or in another mount
// namespace a slave looks so. What the kernel shows of open files and mounts in /proc costs no I/O.
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
	for _, whose := range []string{strconv.Itoa(int(c.n.TID)), "self"} { // a descriptor may come from our mount namespace
		table, _ := os.ReadFile("/proc/" + whose + "/mountinfo")
		device, ok := devptsMount(table, mount)
		switch {
		case !ok:
			continue
		case device == 0:
			return fileID{}, nil
		case inode == 0:
			return c.statFD(fd) // devpts does not block
		}
		return fileID{device, inode}, nil
	}
	return fileID{}, errNeedStat
}

// devptsMount looks a mount up by its id in a table like /proc/self/mountinfo; ok is false if it is not there. device
// is that of the mounted file system if it is a devpts, else 0.
func devptsMount(table []byte, mount string) (device uint64, ok bool) {
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line) // id, parent, major:minor, root, point, options, ...: proc_pid_mountinfo(5)
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

// hasInode reports whether a port's slave has this inode number.
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
