//go:build unix

package serialport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// UUCP lock files are how programs on Unix say that they use a serial port (minicom, ser2net, kermit, pppd, gammu): a file
// LCK..ttyUSB0 with the process id in ten digits (HDB format; Filesystem Hierarchy Standard 3.0, 5.9). A lock of a process
// that is gone counts for nothing. We take them beside flock and TIOCEXCL, which those programs do not ask.

// lockAge is how old a lock file is that says no process and is not one that is being written.
const lockAge = 10 * time.Second

// lockTries bounds how often a lock file may change while it is looked at.
const lockTries = 10

// ownLocks are the lock files of this process: in a container a dead one's process id is often our own.
var ownLocks = struct {
	mu    sync.Mutex
	files map[string]bool
}{files: map[string]bool{}}

// locking is what a port keeps for its lock files.
type locking struct {
	lockDirs []string  // nil: the system's
	unlocked sync.Once // that other programs are told by no lock file was said
}

// lockFiles are files that this process has made.
type lockFiles []string

// lockDirs are where this system's programs look.
func lockDirs() (dirs []string) {
	switch runtime.GOOS {
	case "linux":
		dirs = []string{"/run/lock", "/var/lock"}
	case "darwin":
		dirs = []string{"/var/spool/uucp", "/var/spool/lock"}
	default:
		dirs = []string{"/var/spool/lock"}
	}
	var known []os.FileInfo
	return slices.DeleteFunc(dirs, func(dir string) bool {
		info, err := os.Stat(dir)
		if err != nil || slices.ContainsFunc(known, func(k os.FileInfo) bool { return os.SameFile(k, info) }) {
			return true
		}
		known = append(known, info)
		return false
	})
}

// lockNames are the names by which programs know a port: that of the device and, where the path is a link, the link's, for
// many do not look where it leads. Of a path with more than one element below /dev some take the last one (ser2net), others
// write "pts_4" (minicom, picocom). The last element of a link elsewhere says nothing: it may be the name of another device.
func lockNames(path string) (names []string) {
	paths := []string{filepath.Clean(path)}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		paths = append([]string{real}, paths...)
	}
	for _, p := range paths {
		below, ok := strings.CutPrefix(p, "/dev/")
		all := []string{strings.ReplaceAll(below, "/", "_")}
		if ok {
			all = append(all, filepath.Base(p))
		}
		for _, name := range all {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// lock takes the port's lock files. The error is a lockedError. Directories that are not there, or not this user's to write
// to, are none: then other programs' locks still count.
func (s *Port) lock() (lockFiles, error) {
	dirs := s.lockDirs
	if dirs == nil {
		dirs = lockDirs()
	}
	var taken lockFiles
	var trouble error
	for _, dir := range dirs {
		for _, name := range lockNames(s.Path) {
			file := filepath.Join(dir, "LCK.."+name)
			ok, err := takeLock(file)
			var other lockedError
			if errors.As(err, &other) {
				taken.remove()
				return nil, err
			}
			if ok {
				taken = append(taken, file)
			}
			if err != nil {
				trouble = err
			}
		}
	}
	if len(taken) == 0 {
		s.unlocked.Do(func() {
			log := s.Log
			if log == nil {
				log = slog.Default()
			}
			log.Debug("no lock file for other programs", "device", s.Path, "directories", fmt.Sprint(dirs), "err", trouble)
		})
	}
	return taken, nil
}

// takeLock makes one lock file, in the place of a dead process's. The error is a lockedError, or says why none can be made.
func takeLock(file string) (ok bool, err error) {
	ownLocks.mu.Lock()
	defer ownLocks.mu.Unlock()
	if ownLocks.files[file] {
		return false, lockedError{file, os.Getpid()}
	}
	for range lockTries {
		if err = makeLock(file); err == nil {
			ownLocks.files[file] = true
			return true, nil
		}
		pid, stale, seen := readLock(file)
		switch {
		case errors.Is(seen, fs.ErrNotExist) && errors.Is(err, fs.ErrExist): // given back meanwhile
		case seen != nil:
			return false, err
		case !stale:
			return false, lockedError{file, pid}
		case removeStale(file) != nil: // of another user: who is dead uses no port
			return false, err
		}
	}
	return false, err
}

// makeLock makes a lock file that is whole from the first.
func makeLock(file string) error {
	f, err := os.CreateTemp(filepath.Dir(file), "LTMP..*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintf(f, "%10d\n", os.Getpid())
	if err == nil {
		err = f.Chmod(0o644)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Link(f.Name(), file)
	}
	return err
}

// readLock reads whose a lock file is. It is stale where that process is gone, or there is none in it for a while.
func readLock(file string) (pid int, stale bool, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return 0, false, err
	}
	if !info.Mode().IsRegular() {
		return 0, false, syscall.EINVAL
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false, err
	}
	fields := strings.Fields(string(text))
	if len(fields) > 0 {
		pid, err = strconv.Atoi(fields[0])
	}
	if err != nil && len(text) == 4 { // the older format
		pid, err = int(int32(binary.NativeEndian.Uint32(text))), nil
	}
	switch {
	case err != nil || len(fields) == 0:
		return 0, time.Since(info.ModTime()) > lockAge, nil
	case pid <= 0, pid == os.Getpid(): // an own one is known before
		return pid, true, nil
	}
	return pid, errors.Is(syscall.Kill(pid, 0), syscall.ESRCH), nil
}

// removeStale removes a stale lock file; one that another program has put there meanwhile it puts back.
func removeStale(file string) error {
	aside := fmt.Sprintf("%s.%d", file, os.Getpid())
	if err := os.Rename(file, aside); err != nil {
		return err
	}
	defer os.Remove(aside)
	if _, stale, err := readLock(aside); err == nil && !stale {
		return os.Link(aside, file)
	}
	return nil
}

// remove gives the locks back. What another program has put in their places stays.
func (l lockFiles) remove() {
	ownLocks.mu.Lock()
	defer ownLocks.mu.Unlock()
	for _, file := range l {
		delete(ownLocks.files, file)
		if pid, _, err := readLock(file); err == nil && pid == os.Getpid() {
			_ = os.Remove(file)
		}
	}
}

// program names a process: ": picocom, process 1234".
func program(pid int) string {
	if pid == 0 {
		return ""
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf(": process %d", pid)
	}
	return fmt.Sprintf(": %s, process %d", strings.Trim(strconv.QuoteToASCII(strings.TrimSpace(string(name))), `"`), pid)
}
