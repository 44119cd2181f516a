//go:build amd64 || arm64

package run

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Where a program's path leads: path_resolution(7) for that program, with its root and its working directory, by O_PATH
// descriptors. If a link changes during the lookup, the result may be the old or the new one. That is harmless, because
// this is no security boundary.

// place is what a path leads to.
type place uint8

const (
	notPort         place = iota // something else, or nothing: the kernel performs the call
	portNode                     // the port's own file
	mappedPath                   // a path that is mapped to the port, whatever exists there
	mappedDirectory              // a directory of such a path, which does not exist
	belowMapped                  // something below a mapped path, which is no directory
)

// destination is the result of a lookup.
type destination struct {
	place
	kernelSame bool         // portNode: the kernel's own lookup leads to the slave, too
	name       string       // mappedDirectory: its path
	existing   unix.Statx_t // mappedDirectory: the nearest directory above it that exists
}

// lookup is a path to resolve for a program.
type lookup struct {
	tid          uint32
	dir          int32 // directory of a relative path; AT_FDCWD: the working directory
	pathname     string
	follow       bool   // follow a link at the end
	resolveFlags uint64 // RESOLVE_* of openat2
	names        *names
	slave        fileID // the port's; zero: there is none
}

// maxLinks is how many links a path may contain: MAXSYMLINKS.
const maxLinks = 40

// procPath returns the path of a file in the program's directory of /proc.
func (q *lookup) procPath(what string) string {
	return "/proc/" + strconv.Itoa(int(q.tid)) + "/" + what
}

// startLink returns the link in /proc to the directory of a relative path.
func (q *lookup) startLink() string {
	if q.dir == unix.AT_FDCWD {
		return q.procPath("cwd")
	}
	return q.procPath("fd/" + strconv.Itoa(int(q.dir)))
}

func (q *lookup) isSlave(id fileID) bool { return q.slave != fileID{} && q.slave == id }

// position is a directory on the way: a descriptor, and its name as the program sees it.
type position struct {
	fd      int
	name    string
	missing bool // it does not exist; fd is the nearest directory above it that does
}

// resolver is the state of one lookup.
type resolver struct {
	*lookup
	root        position
	rootName    string // the root's name for this process
	at          position
	rest        string // of the path
	links       int
	viaOwn      bool // the path led through the port's own path
	fds         []int
	startDevice uint64 // for RESOLVE_NO_XDEV
}

// resolve resolves the path. It blocks as long as file systems do.
func (q *lookup) resolve() destination {
	r := &resolver{lookup: q, rest: q.pathname}
	defer func() {
		for _, fd := range r.fds {
			_ = unix.Close(fd)
		}
	}()
	if !r.begin() {
		return destination{}
	}
	for {
		if d, done := r.step(); done {
			if d.place == notPort && r.viaOwn {
				d = destination{place: portNode}
			}
			return d
		}
	}
}

// open opens a name in a directory with O_PATH.
func (r *resolver) open(dir int, name string, flags int) (fd int, st unix.Stat_t, err error) {
	fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return -1, st, err
	}
	if len(r.fds) == maxFDs { // only the current directory and the root are needed again
		r.closeUnused()
	}
	r.fds = append(r.fds, fd)
	return fd, st, unix.Fstat(fd, &st)
}

const maxFDs = 16

// closeUnused closes the descriptors that are not needed any more.
func (r *resolver) closeUnused() {
	kept := r.fds[:0]
	for _, fd := range r.fds {
		if fd == r.root.fd || fd == r.at.fd {
			kept = append(kept, fd)
		} else {
			_ = unix.Close(fd)
		}
	}
	r.fds = kept
}

// begin finds the root and the directory where the path starts.
func (r *resolver) begin() bool {
	var err error
	if r.root.fd, _, err = r.open(unix.AT_FDCWD, r.procPath("root"), 0); err != nil {
		return false
	}
	r.root.name = "/"
	if r.rootName, err = os.Readlink(r.procPath("root")); err != nil {
		return false
	}
	r.at = r.root
	inside := r.resolveFlags&unix.RESOLVE_IN_ROOT != 0
	below := r.resolveFlags&unix.RESOLVE_BENEATH != 0
	if !path.IsAbs(r.pathname) || inside {
		if r.at.fd, _, err = r.open(unix.AT_FDCWD, r.startLink(), 0); err != nil {
			return false
		}
		name, err := os.Readlink(r.startLink())
		if err != nil {
			return false
		}
		r.at.name = r.programName(name)
	}
	if inside || below {
		r.root = r.at
	}
	var st unix.Stat_t
	if err := unix.Fstat(r.at.fd, &st); err != nil {
		return false
	}
	r.startDevice = st.Dev
	return !below || !path.IsAbs(r.pathname)
}

// programName converts a name that this process has read in /proc to the program's view. What is not below the
// program's root has no name there.
func (r *resolver) programName(name string) string {
	if r.rootName == "/" {
		return name
	}
	if name == r.rootName {
		return "/"
	}
	if inside, ok := strings.CutPrefix(name, r.rootName+"/"); ok {
		return "/" + inside
	}
	return ""
}

// step resolves the next element of the path. If done is true, d is the result.
func (r *resolver) step() (d destination, done bool) {
	name, rest, more := strings.Cut(strings.TrimLeft(r.rest, "/"), "/")
	last := strings.Trim(rest, "/") == ""
	r.rest = rest
	switch name {
	case "":
		return r.endInDirectory(), true
	case ".":
		return d, false
	case "..":
		return d, !r.up()
	}
	if len(name) > unix.NAME_MAX {
		return d, true
	}
	full := path.Join(r.at.name, name)
	isMapped := r.at.name != "" && r.names.mapped(full)
	if isMapped && last && !more {
		return destination{place: mappedPath}, true
	}
	if r.at.missing {
		return r.enterMissing(full, isMapped)
	}
	fd, st, err := r.open(r.at.fd, name, unix.O_NOFOLLOW)
	if slices.Contains(r.names.own, full) && last && !more && r.follow {
		// In another root there may be a different file of that name, which was never the port.
		r.viaOwn = err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK || isPTYSlave(&st)
	}
	switch {
	case err == unix.ENOENT && fd < 0:
		return r.enterMissing(full, isMapped)
	case err != nil, r.resolveFlags&unix.RESOLVE_NO_XDEV != 0 && st.Dev != r.startDevice:
		return d, true
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		if last && !more && !r.follow {
			return d, true // the link itself is meant
		}
		return r.followLink(fd, name, more)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		r.at = position{fd: fd, name: r.join(name)}
		return d, false
	case isMapped:
		return destination{place: belowMapped}, true
	case last && !more && r.isSlave(idOf(&st)):
		return destination{place: portNode, kernelSame: true}, true
	}
	return d, true
}

// join returns the name of an element of the current directory; below a directory without a name it has none either.
func (r *resolver) join(name string) string {
	if r.at.name == "" {
		return ""
	}
	return path.Join(r.at.name, name)
}

// up goes to the parent directory. It returns false if the kernel would not let the program do that.
func (r *resolver) up() bool {
	if r.at.fd == r.root.fd && !r.at.missing || r.at.name == r.root.name {
		return r.resolveFlags&unix.RESOLVE_BENEATH == 0
	}
	above := path.Dir(r.at.name)
	if r.at.missing {
		if r.root.name != "/" {
			return false
		}
		r.at.name = above
		if fd, _, err := r.open(r.root.fd, "./"+above, unix.O_DIRECTORY); err == nil { // else it does not exist either
			r.at = position{fd: fd, name: above}
		}
		return true
	}
	fd, st, err := r.open(r.at.fd, "..", 0)
	if err != nil || r.resolveFlags&unix.RESOLVE_NO_XDEV != 0 && st.Dev != r.startDevice {
		return false
	}
	if r.at.name == "" {
		above = ""
	}
	r.at = position{fd: fd, name: above}
	return true
}

// enterMissing continues in a directory that does not exist, if it is one of a mapped path.
func (r *resolver) enterMissing(full string, isMapped bool) (d destination, done bool) {
	switch {
	case isMapped: // and the path goes on
		return destination{place: belowMapped}, true
	case r.at.name == "" || !r.names.mappedParent(full):
		return d, true
	}
	r.at = position{fd: r.at.fd, name: full, missing: true}
	return d, false
}

// endInDirectory is the result for a path that ends in the current directory.
func (r *resolver) endInDirectory() (d destination) {
	if !r.at.missing {
		return d
	}
	d = destination{place: mappedDirectory, name: r.at.name}
	if err := unix.Statx(r.at.fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &d.existing); err != nil {
		return destination{}
	}
	return d
}

// followLink follows the link that fd refers to.
func (r *resolver) followLink(fd int, name string, more bool) (d destination, done bool) {
	if r.links++; r.links > maxLinks || r.resolveFlags&unix.RESOLVE_NO_SYMLINKS != 0 {
		return d, true // the kernel reports ELOOP
	}
	text, magic := r.linkText(fd, name)
	if magic {
		return r.followMagicLink(name, more)
	}
	if text == "" {
		return d, true
	}
	if more {
		text += "/" + r.rest
	}
	if path.IsAbs(text) {
		if r.resolveFlags&unix.RESOLVE_BENEATH != 0 {
			return d, true
		}
		if r.root.name == "/" && r.names.mappedAsWritten(text) {
			return destination{place: mappedPath}, true
		}
		r.at = r.root
	}
	r.rest = text
	return d, false
}

// procRoot is the inode number of the root of a procfs, where self is.
const procRoot = 1

// linkText returns the target of a link for the program. If magic is true it has no text, but leads to a file by
// itself: the magic links of proc(5).
func (r *resolver) linkText(fd int, name string) (text string, magic bool) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err == nil && fs.Type == unix.PROC_SUPER_MAGIC {
		var dir unix.Stat_t
		switch err := unix.Fstat(r.at.fd, &dir); {
		case err != nil:
			return "", false
		case dir.Ino != procRoot:
			return "", true
		case name == "self":
			return r.pid(dir.Dev, "NStgid:"), false
		case name == "thread-self":
			return r.pid(dir.Dev, "NStgid:") + "/task/" + r.pid(dir.Dev, "NSpid:"), false
		}
	}
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, "", b[:])
	if err != nil {
		return "", false
	}
	return string(b[:n]), false
}

// pid returns the program's number in a procfs, which may be that of an inner PID namespace.
func (r *resolver) pid(device uint64, which string) string {
	var st unix.Stat_t
	outer := unix.Stat("/proc", &st) == nil && st.Dev == device
	for line := range strings.Lines(string(readProcStatus(r.tid))) {
		if numbers, ok := strings.CutPrefix(line, which); ok {
			if all := strings.Fields(numbers); len(all) > 0 && outer {
				return all[0]
			} else if len(all) > 0 {
				return all[len(all)-1]
			}
		}
	}
	return strconv.Itoa(int(r.tid))
}

// followMagicLink follows a magic link of procfs.
func (r *resolver) followMagicLink(name string, more bool) (d destination, done bool) {
	if r.resolveFlags&(unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_BENEATH|unix.RESOLVE_IN_ROOT) != 0 {
		return d, true
	}
	fd, st, err := r.open(r.at.fd, name, 0)
	switch {
	case err != nil:
		return d, true
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		text, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			return d, true
		}
		r.at = position{fd: fd, name: r.programName(text)}
		return d, false
	case !more && r.isSlave(idOf(&st)):
		return destination{place: portNode, kernelSame: true}, true
	}
	return d, true
}
