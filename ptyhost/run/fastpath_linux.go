//go:build amd64 || arm64

package run

import (
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Most paths do not lead to the port. The fast path finds that out without a lookup that may block.

// resolveFast resolves the path if that costs next to nothing and cannot block on a file system; sure reports whether
// it could. Nearly every path is not the port's: its last element has another name, and is no link.
func (q *lookup) resolveFast() (d destination, sure bool) {
	base := path.Base(q.pathname)
	switch {
	case q.pathname == "", q.pathname == ".", q.pathname == "/", q.slave == fileID{} && len(q.names.as)+len(q.names.own) == 0:
		return d, true
	case q.names.mappedAsWritten(q.pathname):
		return destination{place: mappedPath}, true
	case slices.Contains(q.names.own, q.pathname) && q.sameRoot(): // known to be a link to the slave
		if q.follow {
			d = destination{place: portNode, kernelSame: true}
		}
		return d, true
	case base == ".." || base == "." || q.names.mayMatch(base):
		return d, false
	case !q.follow && q.slave == fileID{}:
		return d, true
	case q.resolveFlags != 0 || !q.sameRoot():
		return d, false
	}
	mode, id, _, err := q.statCached(unix.O_NOFOLLOW)
	switch {
	case err == unix.ENOENT: // in /proc/self this process was looked up, not the program; its descriptors are numbers
		return d, strings.Trim(base, "0123456789") != "" && !strings.HasPrefix(q.pathname, "/proc/")
	case err != nil:
		return d, false
	case mode == unix.S_IFLNK && q.follow:
		return q.resolveFastLink()
	case q.isSlave(id):
		d = destination{place: portNode, kernelSame: true}
	}
	return d, true
}

// resolveFastLink is resolveFast for a link, such as many a library has. If it leads to a regular file or a directory
// with another name, it does not lead to the port.
func (q *lookup) resolveFastLink() (d destination, sure bool) {
	mode, _, name, err := q.statCached(0)
	return d, err == nil && (mode == unix.S_IFREG || mode == unix.S_IFDIR) && !q.names.mayMatch(path.Base(name))
}

// resolveCached is RESOLVE_CACHED: fail instead of looking up what is not cached (Linux 5.12; older kernels reject it).
const resolveCached = 0x20

// statCached returns what is at the path, if the kernel has everything on the way there cached. name is the file's
// path, unless flags have O_NOFOLLOW.
func (q *lookup) statCached(flags uint64) (mode uint32, id fileID, name string, err error) {
	start := unix.AT_FDCWD
	if !path.IsAbs(q.pathname) {
		if start, err = unix.Open(q.startLink(), unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return 0, id, "", err
		}
		defer unix.Close(start)
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: resolveCached | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(start, q.pathname, &how)
	if err != nil {
		return 0, id, "", err
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO, &st); err != nil {
		return 0, id, "", err
	}
	if flags&unix.O_NOFOLLOW == 0 {
		name, err = os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	}
	return uint32(st.Mode) & unix.S_IFMT, fileID{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}, name, err
}

// sameRoot reports whether the program has the same root as this process, in the same mount namespace.
func (q *lookup) sameRoot() bool {
	its, err := rootAt(q.procPath("root"))
	return err == nil && its == ownRoot()
}

// rootID identifies a root directory and its mount; every mount namespace has its own mounts.
type rootID struct {
	mount, inode uint64
	major, minor uint32
}

// ownRoot returns the root of this process, which does not change.
var ownRoot = sync.OnceValue(func() rootID {
	id, err := rootAt("/")
	if err != nil {
		return rootID{mount: ^uint64(0)} // equal to no program's
	}
	return id
})

func rootAt(name string) (rootID, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, name, unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_MNT_ID, &st)
	return rootID{st.Mnt_id, st.Ino, st.Dev_major, st.Dev_minor}, err
}
