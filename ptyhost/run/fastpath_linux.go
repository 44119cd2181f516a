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

// Most paths have nothing to do with the port. These are told from the others without a look-up that may wait.

// quick answers where that costs next to nothing and waits for no file system; sure says that it could. Nearly every path
// is none of ours: its last element has another name, and is no link.
func (q *lookup) resolveFast() (d destination, sure bool) {
	base := path.Base(q.pathname)
	switch {
	case q.pathname == "", q.pathname == ".", q.pathname == "/", q.slave == fileID{} && len(q.names.as)+len(q.names.own) == 0:
		return d, true
	case q.names.mappedAsWritten(q.pathname):
		return destination{place: mappedPath}, true
	case slices.Contains(q.names.own, q.pathname) && q.sameRoot(): // that it is a link is known
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
	case err == unix.ENOENT: // in /proc/self it was this process that was looked for; descriptors are numbers
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

// quickLink is quick for a link: many a library has one. What leads to a file or a directory of another name leads to no
// device.
func (q *lookup) resolveFastLink() (d destination, sure bool) {
	mode, _, name, err := q.statCached(0)
	return d, err == nil && (mode == unix.S_IFREG || mode == unix.S_IFDIR) && !q.names.mayMatch(path.Base(name))
}

// resolveCached is RESOLVE_CACHED: what is not in memory is not looked up (Linux 5.12; older kernels refuse it).
const resolveCached = 0x20

// cached looks at what is at the path, if the kernel has everything on the way to it in its memory. The name is there where
// links at the end are followed.
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

// sameRoot reports whether the program sees the same file systems as this process.
func (q *lookup) sameRoot() bool {
	its, err := rootAt(q.procPath("root"))
	return err == nil && its == ownRoot()
}

// rootID says which directory a root is, and of which mount: each mount namespace has its own.
type rootID struct {
	mount, inode uint64
	major, minor uint32
}

// ownRoot is that of this process, which does not change.
var ownRoot = sync.OnceValue(func() rootID {
	id, err := rootAt("/")
	if err != nil {
		return rootID{mount: ^uint64(0)} // no program has it
	}
	return id
})

func rootAt(name string) (rootID, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, name, unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_MNT_ID, &st)
	return rootID{st.Mnt_id, st.Ino, st.Dev_major, st.Dev_minor}, err
}
