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

// Claim is a port's right to its path, against other agents and against what was there before.
//
// Who is alive is said by a lock: .NAME.telnetcpc beside the path, held by flock for the port's life, with the agent's
// process id in it. The kernel drops the lock with the process, however that ends; and a file beside the link is seen
// by everybody who sees the link, whatever the user, the environment or the container.
//
// Which link is ours is said by the link itself, so that no record can be lost or belong to an earlier link: its text
// has "/./" before the last element (/dev/pts/./4), which nobody else writes, and it belongs to this user. A link that
// is ours and whose lock is free is of a dead agent, and is replaced; where it points does not matter, the number may
// long be another terminal's. Everything else at the path is left alone.
//
// Until that next start the link would lead into whatever terminal gets the number. So the watcher process is told of
// each link, and removes it when this process dies without having done so; see Main.
type Claim struct {
	path string
	lock *os.File

	mu    sync.Mutex // makes Link and Release one after the other
	text  string     // of the link that was made; empty: none
	watch uint64     // the watcher's number of that link; 0: none
	over  bool       // released
}

// Take takes a path, which is absolute, and removes what a dead agent left there. What is there and is not ours stays and
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
	// Before the lock: at a path that is not ours no lock file is left beside somebody's file.
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

// free is nil where nothing is at the path, or a link of ours.
func free(path string) error {
	for {
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("cannot be looked at: %w", Cause(err))
		case ours(path, info):
			return nil
		}
		err = fmt.Errorf("%s is there already and telnetcpc did not make it (remove it, or choose another path)", describe(path, info))
		if text, e := os.Readlink(path); e == nil && marked(text) {
			err = errors.New("another user's telnetcpc serves this path, or has left its link there (remove it, or choose another path)")
		}
		// A link that its maker, or a watcher, has removed meanwhile looks like nobody's.
		if now, e := os.Lstat(path); e == nil && os.SameFile(info, now) && now.ModTime().Equal(info.ModTime()) {
			return err
		}
	}
}

// ours reports whether what is at the path is a link that an agent of this user made.
func ours(path string, info fs.FileInfo) bool {
	if info.Mode().Type() != fs.ModeSymlink {
		return false
	}
	text, err := os.Readlink(path)
	if err != nil || !marked(text) {
		return false
	}
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && int(st.Uid) == os.Geteuid()
}

// mark writes a device's name as our links do; marked tells such a text.
func mark(device string) string {
	dir, base := filepath.Split(device)
	return dir + "./" + base
}

func marked(text string) bool {
	dir, base := filepath.Split(text)
	return strings.HasPrefix(text, "/dev/") && strings.HasSuffix(dir, "/./") && base != "" && text == mark(filepath.Clean(text))
}

// describe names what is in the way.
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
	// lockPatience is how long Take waits for another process that has the lock: one that was killed may still be about to
	// end, and then its watcher has the lock for the moment in which it removes the link.
	lockPatience = time.Second
	lockAgain    = 2 * time.Millisecond
)

// lockFor takes the lock of the path and writes this process into it, or says who has it.
func lockFor(path string) (*os.File, error) {
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockAgain) {
		f, err := tryLock(path)
		var held heldError
		if errors.As(err, &held) && held.pid != os.Getpid() && time.Now().Before(end) {
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

// tryLock takes the lock of the path without waiting. The error is a heldError where another has it.
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
		} // else its holder removed it between our open and our lock
	}
}

// heldError says that another process has a path's lock; pid is 0 where it has not written itself down yet.
type heldError struct{ pid int }

func (e heldError) Error() string {
	holder := ""
	if e.pid != 0 {
		holder = fmt.Sprintf(" (pid %d)", e.pid)
	}
	return "another telnetcpc serves this port" + holder + " (stop it, or choose another path)"
}

func lockName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".telnetcpc")
}

// takeLock locks f. It is false where f is no longer the file of its name.
func takeLock(f *os.File) (bool, error) {
	var st, now unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() {
		return false, fmt.Errorf("lock file %s is not this user's (another user's agent serves this path, or remove the file)", f.Name())
	}
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, heldError{holder(f)}
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err := unix.Lstat(f.Name(), &now); err != nil || now.Dev != st.Dev || now.Ino != st.Ino {
		return false, nil
	}
	return true, nil
}

// holder is the process that a lock file names, or 0 where it has not written itself down yet.
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

// Cause takes the operation and the path off an error of package os: ours name them.
func Cause(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// asideName is where the next link is made that is to take another's place.
func asideName(path string) string { return lockName(path) + ".new" }

// clean removes a link of ours, now that its maker is known to be dead.
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

// Link makes the path lead to the device, whose name begins with /dev/. What came there meanwhile is not replaced. After
// Release it does nothing.
//
// Where the device is a pty, master is the descriptor of its master, which the caller keeps open until Release, or until
// Relink has returned; else it is -1. The watcher process gets a duplicate and gives it back when the link is gone: so
// long the kernel gives the pty's number to nobody else, whatever becomes of this process.
func (c *Claim) Link(device string, master int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	return c.link(device, master, func(text string) error { return os.Symlink(text, c.path) })
}

// link is Link, by the function that makes the link; the lock is held. The watcher is told first: from the moment at which
// the link is there, it is known.
func (c *Claim) link(device string, master int, by func(text string) error) error {
	text := mark(device)
	last := c.watch
	c.watch = watching.hold(held{c.path, text, master})
	if err := by(text); err != nil {
		watching.drop(c.watch, opUnmade) // not opMoved, which opens the slave: somebody would have the port open
		if c.watch = last; last != 0 {   // its master may be closed all the same, and must be the last one then
			c.watch = watching.hold(held{c.path, c.text, -1})
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

// Unlink removes the link, if it still is the one that was made, and keeps the path for another Link.
func (c *Claim) Unlink() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unlink()
}

// unlink is Unlink; the lock is held.
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

// Relink makes the path lead to another device; master is Link's, and the one of the last Link may be closed when Relink
// has returned. Where the link is not the one that was made it is left alone, which is an error, as after Release. It waits
// for no other process: where the last master is closed at once, the hangup of that pty may come a little later.
func (c *Claim) Relink(device string, master int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return fs.ErrClosed
	}
	return c.link(device, master, func(text string) error {
		if now, err := os.Readlink(c.path); err == nil && now == c.text {
			return relink(c.path, now, text)
		}
		return os.Symlink(text, c.path)
	})
}

// Path is the path that was taken.
func (c *Claim) Path() string { return c.path }

// Retire is Release for a port whose programs go on with it for a while: the pty stays as it is.
func (c *Claim) Retire() error { return c.release(opLetGo) }

// Release removes the link if it still is the one that was made, then the lock, of a port that is closed next. When it
// returns, the watcher process has no duplicate of a master any more: whoever closes it hangs the pty up. Its number stays
// busy for a while, by the slave: a program may be in the open() that has read the link. Idempotent, from any goroutine.
func (c *Claim) Release() error { return c.release(opClosed) }

func (c *Claim) release(why op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	c.over = true
	err := c.unlink()
	watching.drop(c.watch, why)
	_ = os.Remove(asideName(c.path)) // of one who was killed at a Relink
	// By name while the lock is held: whoever locks the file after us sees that it is no longer the one of its name.
	_ = os.Remove(c.lock.Name())
	_ = c.lock.Close()
	return err
}
