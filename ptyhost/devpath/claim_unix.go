//go:build linux || darwin || freebsd

package devpath

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Claim is a port's claim to its path, against other agents and against what was there before.
//
// A lock shows that the agent is alive: .NAME.telnetcpc beside the path, locked by flock for the port's life, with the
// agent's process id in it. The kernel releases the lock with the process, however that ends; and every process that sees
// the link sees the file beside it, whatever its user, environment or container.
//
// The link itself shows that it is ours, so no record can be lost or belong to an earlier link: its text has "/./" before
// the last element (/dev/pts/./4), which nobody else writes, and it belongs to this user. A link of ours whose lock is free
// belongs to a dead agent and is replaced; its target does not matter, as the number may be another terminal's by now.
// Everything else at the path is left alone.
//
// Until the next start such a link would lead into whatever terminal gets the number. So the watcher process is notified of
// each link, and removes it if this process dies without having done so; see Main.
type Claim struct {
	path string
	lock *os.File

	mu       sync.Mutex // serialises Link, Unlink, Relink and Release; guards the fields below
	text     string     // of the link that was made; empty: none
	watch    uint64     // the watcher's number of that link; 0: none
	released bool
}

// Take claims a path, which must be absolute, and removes what a dead agent left there. Anything else at the path stays and
// is an error: one line, with the way out.
func Take(path string) (*Claim, error) {
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("directory %s does not exist (make it, or choose another path)", dir)
	case err != nil:
		return nil, fmt.Errorf("directory %s: %w", dir, Cause(err))
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory (choose another path)", dir)
	}
	// Before the lock, so that no lock file is left beside a file that is not ours.
	if err := free(path); err != nil {
		return nil, err
	}
	lock, err := lockFor(path)
	if err != nil {
		return nil, err
	}
	c := &Claim{path: path, lock: lock}
	if err := c.clean(); err != nil {
		_ = c.Release()
		return nil, err
	}
	watching.ready()
	return c, nil
}

// free returns nil if nothing, or a link of ours, is at the path.
func free(path string) error {
	for {
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("cannot inspect the path: %w", Cause(err))
		case ours(path, info):
			return nil
		}
		err = fmt.Errorf("%s is there already and telnetcpc did not make it (remove it, or choose another path)", describe(path, info))
		if text, e := os.Readlink(path); e == nil && isLinkText(text) {
			err = errors.New("another user's telnetcpc serves this path, or has left its link there (remove it, or choose another path)")
		}
		// A link that its maker or a watcher has removed meanwhile looks foreign: check again.
		if now, e := os.Lstat(path); e == nil && os.SameFile(info, now) && now.ModTime().Equal(info.ModTime()) {
			return err
		}
	}
}

// ours reports whether the path is a link that an agent of this user made.
func ours(path string, info fs.FileInfo) bool {
	if info.Mode().Type() != fs.ModeSymlink {
		return false
	}
	text, err := os.Readlink(path)
	if err != nil || !isLinkText(text) {
		return false
	}
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && int(st.Uid) == os.Geteuid()
}

// linkText writes a device's name as our links have it; isLinkText recognises such a text.
func linkText(device string) string {
	dir, base := filepath.Split(device)
	return dir + "./" + base
}

func isLinkText(text string) bool {
	dir, base := filepath.Split(text)
	return strings.HasPrefix(text, "/dev/") && strings.HasSuffix(dir, "/./") && base != "" && text == linkText(filepath.Clean(text))
}

// describe names what is at the path.
func describe(path string, info fs.FileInfo) string {
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		text, _ := os.Readlink(path)
		return "a link to " + strconv.QuoteToGraphic(text)
	case fs.ModeDir:
		return "a directory"
	case fs.ModeDevice | fs.ModeCharDevice:
		return "a device"
	}
	return "a file"
}

const (
	// lockPatience is how long Take waits for another process that has the lock: one that was killed may not have ended yet,
	// and then its watcher takes the lock for the moment in which it removes the link.
	lockPatience = time.Second
	lockInterval = 2 * time.Millisecond
)

// lockFor takes the lock of the path and writes this process's id into it. The error names the process that has it.
func lockFor(path string) (*os.File, error) {
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockInterval) {
		f, err := tryLock(path)
		var locked lockedError
		if errors.As(err, &locked) && locked.pid != os.Getpid() && time.Now().Before(end) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		}
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock file %s: %w", lockName(path), Cause(err))
		}
		return f, nil
	}
}

// tryLock takes the lock of the path without waiting. The error is a lockedError if another process has it.
func tryLock(path string) (*os.File, error) {
	name := lockName(path)
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
		if err != nil {
			return nil, explainLock(filepath.Dir(path), name, err)
		}
		ok, err := takeLock(f)
		if ok {
			return f, nil
		}
		_ = f.Close()
		if err != nil {
			return nil, err
		} // otherwise its holder removed it between our open and our lock
	}
}

// lockedError means that another process has a path's lock; pid is 0 if it has not written its id yet.
type lockedError struct{ pid int }

func (e lockedError) Error() string {
	holder := ""
	if e.pid != 0 {
		holder = fmt.Sprintf(" (pid %d)", e.pid)
	}
	return "another telnetcpc serves this port" + holder + " (stop it, or choose another path)"
}

func lockName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".telnetcpc")
}

// takeLock locks f. It returns false if f is no longer the file of its name.
func takeLock(f *os.File) (bool, error) {
	var st, now unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() {
		return false, fmt.Errorf("lock file %s is not this user's (another user's agent serves this path; if not, remove the file)", f.Name())
	}
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, lockedError{holder(f)}
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err := unix.Lstat(f.Name(), &now); err != nil || now.Dev != st.Dev || now.Ino != st.Ino {
		return false, nil
	}
	return true, nil
}

// holder returns the process id in a lock file; 0: none is written yet.
func holder(f *os.File) int {
	text := make([]byte, 20)
	n, err := f.ReadAt(text, 0)
	pid, bad := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil && err != io.EOF || bad != nil {
		return 0
	}
	return pid
}

func explainLock(dir, name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("directory %s cannot be written by this user: %w (run as root, or choose a path in a directory of your own)", dir, Cause(err))
	case errors.Is(err, unix.ELOOP):
		return fmt.Errorf("lock file %s is a link (remove it)", name)
	}
	return fmt.Errorf("lock file %s: %w", name, Cause(err))
}

// Cause strips the operation and the path from an error of package os, for errors that name them anyway.
func Cause(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// asideName is where Relink makes the link that replaces the present one.
func asideName(path string) string { return lockName(path) + ".new" }

// clean removes a link of ours. As this process has the lock, its maker is dead.
func (c *Claim) clean() error {
	_ = os.Remove(asideName(c.path))
	if err := free(c.path); err != nil {
		return err
	}
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("link of a dead agent: %w (remove it)", Cause(err))
	}
	return nil
}

// Link makes the path lead to the device, whose name begins with /dev/. It does not replace what was put there since Take.
// After Release it does nothing.
//
// If the device is a pty, master is the descriptor of its master, which the caller keeps open until Release, or until
// Relink has returned; otherwise it is -1. The watcher process gets a duplicate and closes it when the link is gone: until
// then the kernel gives the pty's number to nobody else, whatever happens to this process.
func (c *Claim) Link(device string, master int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return nil
	}
	return c.link(device, master, func(text string) error { return os.Symlink(text, c.path) })
}

// link is Link with a function that makes the link; the caller holds mu. The watcher is notified first, so that it knows the
// link from the moment it exists.
func (c *Claim) link(device string, master int, by func(text string) error) error {
	text := linkText(device)
	last := c.watch
	c.watch = watching.add(link{c.path, text, master})
	if err := by(text); err != nil {
		watching.drop(c.watch, opNotMade) // not opMoved, which opens the slave: the port would look open
		if c.watch = last; last != 0 {    // the caller may close its master all the same, which must then be the last descriptor
			c.watch = watching.add(link{c.path, c.text, -1})
			watching.drop(last, opMoved)
		}
		if errors.Is(err, fs.ErrExist) {
			if err := free(c.path); err != nil {
				return err
			}
		}
		var linkErr *os.LinkError
		if errors.As(err, &linkErr) {
			err = linkErr.Err
		}
		return fmt.Errorf("link to %s: %w", device, err)
	}
	c.text = text
	watching.drop(last, opMoved)
	return nil
}

// Unlink removes the link, if it is still the one that was made, and keeps the path for another Link.
func (c *Claim) Unlink() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unlink()
}

// unlink is Unlink; the caller holds mu.
func (c *Claim) unlink() error {
	info, err := os.Lstat(c.path)
	if c.text == "" || err != nil || !ours(c.path, info) {
		return nil
	}
	if text, err := os.Readlink(c.path); err != nil || text != c.text {
		return nil
	}
	if err := os.Remove(c.path); err != nil {
		return fmt.Errorf("port %s: its link cannot be removed: %w", c.path, Cause(err))
	}
	return nil
}

// Relink makes the path lead to another device. master is as for Link; the one of the last Link may be closed when Relink
// has returned. If the link is not the one that was made, it is left alone, which is an error, as it is after Release. Relink
// waits for no other process: if the last master is closed at once, the hangup of that pty may come a little later.
func (c *Claim) Relink(device string, master int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return fs.ErrClosed
	}
	return c.link(device, master, func(text string) error {
		if now, err := os.Readlink(c.path); err == nil && now == c.text {
			return relink(c.path, now, text)
		}
		return os.Symlink(text, c.path)
	})
}

// Path returns the path that was taken.
func (c *Claim) Path() string { return c.path }

// Retire is Release for a port whose programs go on using it for a while: the pty stays open.
func (c *Claim) Retire() error { return c.release(opRetired) }

// Release removes the link if it is still the one that was made, then the lock, of a port that is closed next. When it
// returns, the watcher process has no duplicate of a master any more, so closing the master hangs the pty up. The slave keeps
// the number in use for a while, because a program may be in an open() that has read the link already. Idempotent, from any
// goroutine.
func (c *Claim) Release() error { return c.release(opClosed) }

func (c *Claim) release(why op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return nil
	}
	c.released = true
	err := c.unlink()
	watching.drop(c.watch, why)
	_ = os.Remove(asideName(c.path)) // left by an agent that was killed in Relink
	// By name while the lock is held: a process that locks the file after us sees that it is no longer the file of its name.
	_ = os.Remove(c.lock.Name())
	_ = c.lock.Close()
	return err
}
