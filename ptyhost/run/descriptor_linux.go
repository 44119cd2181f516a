//go:build amd64 || arm64

package run

import (
	"bytes"
	"fmt"
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
const slaves = "/dev/pts/"

// descriptor is the file that the program's descriptor leads to. It is the zero value for a file that cannot be a slave.
func (c *call) descriptor(fd int32) (fileID, error) {
	where := "/proc/" + strconv.Itoa(int(c.n.TID)) + "/fd/" + strconv.Itoa(int(fd))
	var buf [len(slaves) + 32]byte // a longer text is none of a slave here
	n, err := unix.Readlink(where, buf[:])
	switch {
	case err != nil || n == 0:
		return fileID{}, err
	case bytes.HasPrefix(buf[:n], []byte(slaves)):
		var st unix.Stat_t
		err := unix.Stat(where, &st)
		return idOf(&st), err
	case buf[0] != '/': // a pipe, a socket
		return fileID{}, nil
	}
	return c.elsewhere(fd), nil
}

// elsewhere is descriptor for a file that has another path: a slave is seen so from a chroot, through a bind mount or in
// another mount namespace. What the kernel tells of open files and of mounts costs no I/O.
func (c *call) elsewhere(fd int32) fileID {
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", c.n.TID, fd))
	if err != nil {
		return fileID{}
	}
	inode := status(info).number("ino:", 10) // since Linux 5.14
	if inode != 0 && !c.host.knows(inode) {
		return fileID{}
	}
	mount := strconv.FormatUint(status(info).number("mnt_id:", 10), 10)
	for _, whose := range []string{strconv.Itoa(int(c.n.TID)), "self"} { // a descriptor can come from elsewhere
		table, _ := os.ReadFile("/proc/" + whose + "/mountinfo")
		device, ok := slavesOf(table, mount)
		switch {
		case !ok:
			continue
		case device == 0:
			return fileID{}
		case inode == 0: // slaves are asked without I/O
			var st unix.Stat_t
			_ = unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", c.n.TID, fd), &st)
			return idOf(&st)
		}
		return fileID{device, inode}
	}
	return fileID{}
}

// slavesOf finds a mount in a table as /proc/self/mountinfo has it: ok. device is that of its file system, where it is one of
// slaves; else 0.
func slavesOf(table []byte, mount string) (device uint64, ok bool) {
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
func (h *Host) knows(inode uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.ports {
		if id.inode == inode {
			return true
		}
	}
	return false
}
