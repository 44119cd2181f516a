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

// Where a path of a program leads: looked up as the kernel does it for that program (path_resolution(7)), with its root and
// its directory, by descriptors that open no file. A link that changes meanwhile leads here and there, which harms nobody:
// this is no security border.

// place is where a path leads.
type place uint8

const (
	notPort         place = iota // the kernel knows better
	portNode                     // to the port's own file
	mappedPath                   // to a path that is the port whatever is there
	mappedDirectory              // to a directory of such a path, which is not there
	belowMapped                  // beyond what is no directory
)

// destination is what looking a path up has found.
type destination struct {
	place
	kernelSame bool         // here: the kernel comes to the slave too
	name       string       // missing: what it is called
	existing   unix.Statx_t // missing: the directory that it would be in
}

// question is what a call asks of a path.
type lookup struct {
	tid          uint32
	dir          int32 // where a relative path begins; AT_FDCWD
	pathname     string
	follow       bool   // a link at the end too
	resolveFlags uint64 // RESOLVE_* of openat2
	names        *names
	slave        fileID // of the port; zero: there is none
}

// linksMost is how many links a path may lead through: MAXSYMLINKS.
const maxLinks = 40

// proc is a file of the program in /proc.
func (q *lookup) procPath(what string) string {
	return "/proc/" + strconv.Itoa(int(q.tid)) + "/" + what
}

// start is the link to the directory where a relative path begins.
func (q *lookup) startLink() string {
	if q.dir == unix.AT_FDCWD {
		return q.procPath("cwd")
	}
	return q.procPath("fd/" + strconv.Itoa(int(q.dir)))
}

func (q *lookup) isSlave(id fileID) bool { return q.slave != fileID{} && q.slave == id }

// position is a directory on the way, by a descriptor and by its name as the program sees it.
type position struct {
	fd      int
	name    string
	missing bool // it is not there; fd is that of the nearest directory above it that is
}

// walk is one look-up.
type resolver struct {
	*lookup
	root        position
	rootName    string // of the root, as this process sees it
	at          position
	rest        string // of the path
	links       int
	viaOwn      bool // the way leads through the port's own path
	fds         []int
	startDevice uint64 // of the beginning
}

// walk looks the path up. It waits as long as file systems make it wait.
func (q *lookup) resolve() destination {
	w := &resolver{lookup: q, rest: q.pathname}
	defer func() {
		for _, fd := range w.fds {
			_ = unix.Close(fd)
		}
	}()
	if !w.begin() {
		return destination{}
	}
	for {
		if d, done := w.step(); done {
			if d.place == notPort && w.viaOwn {
				d = destination{place: portNode}
			}
			return d
		}
	}
}

// open opens a name in a directory without opening a file.
func (w *resolver) open(dir int, name string, flags int) (fd int, st unix.Stat_t, err error) {
	fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return -1, st, err
	}
	if len(w.fds) == maxFDs { // few are looked at again: the place where the walk is, and the root
		w.closeUnused()
	}
	w.fds = append(w.fds, fd)
	return fd, st, unix.Fstat(fd, &st)
}

const maxFDs = 16

// drop closes what is not needed any more.
func (w *resolver) closeUnused() {
	kept := w.fds[:0]
	for _, fd := range w.fds {
		if fd == w.root.fd || fd == w.at.fd {
			kept = append(kept, fd)
		} else {
			_ = unix.Close(fd)
		}
	}
	w.fds = kept
}

// begin finds where the path begins.
func (w *resolver) begin() bool {
	var err error
	if w.root.fd, _, err = w.open(unix.AT_FDCWD, w.procPath("root"), 0); err != nil {
		return false
	}
	w.root.name = "/"
	if w.rootName, err = os.Readlink(w.procPath("root")); err != nil {
		return false
	}
	w.at = w.root
	inside := w.resolveFlags&unix.RESOLVE_IN_ROOT != 0
	below := w.resolveFlags&unix.RESOLVE_BENEATH != 0
	if !path.IsAbs(w.pathname) || inside {
		if w.at.fd, _, err = w.open(unix.AT_FDCWD, w.startLink(), 0); err != nil {
			return false
		}
		name, err := os.Readlink(w.startLink())
		if err != nil {
			return false
		}
		w.at.name = w.programName(name)
	}
	if inside || below {
		w.root = w.at
	}
	var st unix.Stat_t
	if err := unix.Fstat(w.at.fd, &st); err != nil {
		return false
	}
	w.startDevice = st.Dev
	return !below || !path.IsAbs(w.pathname)
}

// seen is a name that this process has read in /proc as the program sees it. What is not below the program's root has no
// name there.
func (w *resolver) programName(name string) string {
	if w.rootName == "/" {
		return name
	}
	if name == w.rootName {
		return "/"
	}
	if inside, ok := strings.CutPrefix(name, w.rootName+"/"); ok {
		return "/" + inside
	}
	return ""
}

// step takes the next element of the path. done says that d is the answer.
func (w *resolver) step() (d destination, done bool) {
	name, rest, more := strings.Cut(strings.TrimLeft(w.rest, "/"), "/")
	last := strings.Trim(rest, "/") == ""
	w.rest = rest
	switch name {
	case "":
		return w.endInDirectory(), true
	case ".":
		return d, false
	case "..":
		return d, !w.up()
	}
	if len(name) > unix.NAME_MAX {
		return d, true
	}
	full := path.Join(w.at.name, name)
	isMapped := w.at.name != "" && w.names.mapped(full)
	if isMapped && last && !more {
		return destination{place: mappedPath}, true
	}
	if w.at.missing {
		return w.enterMissing(full, isMapped)
	}
	fd, st, err := w.open(w.at.fd, name, unix.O_NOFOLLOW)
	if slices.Contains(w.names.own, full) && last && !more && w.follow {
		// A program's root can have another file of that name, which was never the port.
		w.viaOwn = err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK || isPTYSlave(&st)
	}
	switch {
	case err == unix.ENOENT && fd < 0:
		return w.enterMissing(full, isMapped)
	case err != nil, w.resolveFlags&unix.RESOLVE_NO_XDEV != 0 && st.Dev != w.startDevice:
		return d, true
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		if last && !more && !w.follow {
			return d, true // the link is meant
		}
		return w.followLink(fd, name, more)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		w.at = position{fd: fd, name: w.join(name)}
		return d, false
	case isMapped:
		return destination{place: belowMapped}, true
	case last && !more && w.isSlave(idOf(&st)):
		return destination{place: portNode, kernelSame: true}, true
	}
	return d, true
}

// join is the name of an element of where the walk is; what has no name has none below it.
func (w *resolver) join(name string) string {
	if w.at.name == "" {
		return ""
	}
	return path.Join(w.at.name, name)
}

// up goes to the directory above. It is false where the kernel does not let the program go.
func (w *resolver) up() bool {
	if w.at.fd == w.root.fd && !w.at.missing || w.at.name == w.root.name {
		return w.resolveFlags&unix.RESOLVE_BENEATH == 0
	}
	above := path.Dir(w.at.name)
	if w.at.missing {
		if w.root.name != "/" {
			return false
		}
		w.at.name = above
		if fd, _, err := w.open(w.root.fd, "./"+above, unix.O_DIRECTORY); err == nil { // else it is not there either
			w.at = position{fd: fd, name: above}
		}
		return true
	}
	fd, st, err := w.open(w.at.fd, "..", 0)
	if err != nil || w.resolveFlags&unix.RESOLVE_NO_XDEV != 0 && st.Dev != w.startDevice {
		return false
	}
	if w.at.name == "" {
		above = ""
	}
	w.at = position{fd: fd, name: above}
	return true
}

// enterMissing goes on in a directory that is not there, where it is one of a path that is the port.
func (w *resolver) enterMissing(full string, isMapped bool) (d destination, done bool) {
	switch {
	case isMapped: // and more comes
		return destination{place: belowMapped}, true
	case w.at.name == "" || !w.names.mappedParent(full):
		return d, true
	}
	w.at = position{fd: w.at.fd, name: full, missing: true}
	return d, false
}

// atDirectory is the end of a path that leads to where the walk is.
func (w *resolver) endInDirectory() (d destination) {
	if !w.at.missing {
		return d
	}
	d = destination{place: mappedDirectory, name: w.at.name}
	if err := unix.Statx(w.at.fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &d.existing); err != nil {
		return destination{}
	}
	return d
}

// through goes through a link, which fd is.
func (w *resolver) followLink(fd int, name string, more bool) (d destination, done bool) {
	if w.links++; w.links > maxLinks || w.resolveFlags&unix.RESOLVE_NO_SYMLINKS != 0 {
		return d, true // ELOOP, which the kernel says
	}
	text, magic := w.linkText(fd, name)
	if magic {
		return w.followMagicLink(name, more)
	}
	if text == "" {
		return d, true
	}
	if more {
		text += "/" + w.rest
	}
	if path.IsAbs(text) {
		if w.resolveFlags&unix.RESOLVE_BENEATH != 0 {
			return d, true
		}
		if w.root.name == "/" && w.names.mappedAsWritten(text) {
			return destination{place: mappedPath}, true
		}
		w.at = w.root
	}
	w.rest = text
	return d, false
}

// procRoot is the inode of the root of /proc, in which self is.
const procRoot = 1

// linkText is what a link says to the program. magic: it says nothing, but leads to a file by itself; see proc(5).
func (w *resolver) linkText(fd int, name string) (text string, magic bool) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err == nil && fs.Type == unix.PROC_SUPER_MAGIC {
		var dir unix.Stat_t
		switch err := unix.Fstat(w.at.fd, &dir); {
		case err != nil:
			return "", false
		case dir.Ino != procRoot:
			return "", true
		case name == "self":
			return w.pid(dir.Dev, "NStgid:"), false
		case name == "thread-self":
			return w.pid(dir.Dev, "NStgid:") + "/task/" + w.pid(dir.Dev, "NSpid:"), false
		}
	}
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, "", b[:])
	if err != nil {
		return "", false
	}
	return string(b[:n]), false
}

// pid is a number of the program in a /proc, which may be that of a namespace further in.
func (w *resolver) pid(device uint64, which string) string {
	var st unix.Stat_t
	outer := unix.Stat("/proc", &st) == nil && st.Dev == device
	for line := range strings.Lines(string(readProcStatus(w.tid))) {
		if numbers, ok := strings.CutPrefix(line, which); ok {
			if all := strings.Fields(numbers); len(all) > 0 && outer {
				return all[0]
			} else if len(all) > 0 {
				return all[len(all)-1]
			}
		}
	}
	return strconv.Itoa(int(w.tid))
}

// jump goes where a link of /proc leads.
func (w *resolver) followMagicLink(name string, more bool) (d destination, done bool) {
	if w.resolveFlags&(unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_BENEATH|unix.RESOLVE_IN_ROOT) != 0 {
		return d, true
	}
	fd, st, err := w.open(w.at.fd, name, 0)
	switch {
	case err != nil:
		return d, true
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		text, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			return d, true
		}
		w.at = position{fd: fd, name: w.programName(text)}
		return d, false
	case !more && w.isSlave(idOf(&st)):
		return destination{place: portNode, kernelSame: true}, true
	}
	return d, true
}
