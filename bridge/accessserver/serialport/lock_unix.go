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

// With UUCP lock files, programs on Unix (minicom, ser2net, kermit, pppd, gammu) show that they use a serial port: a file
// LCK..ttyUSB0 with the process id in ten digits (HDB format; Filesystem Hierarchy Standard 3.0, 5.9). A lock file of a
// process that is gone does not count. This package makes them in addition to flock and TIOCEXCL, which those programs do
// not check.

// lockAge is the age from which a lock file without a process id counts as stale; a younger one may be being written.
const lockAge = 10 * time.Second

// lockTries bounds how often a lock file may change while takeLock tries to replace it.
const lockTries = 10

// ownLocks are the lock files that this process holds. A file with our own process id that is not among them is stale: in a
// container a process often has the id that a dead one had.
var ownLocks = struct {
	mu    sync.Mutex
	files map[string]bool
}{files: map[string]bool{}}

// locking is the part of a Port that deals with lock files.
type locking struct {
	lockDirs    []string  // nil: the system's
	logUnlocked sync.Once // the log message that there is no lock file
}

// lockFiles are the paths of lock files that this process has made.
type lockFiles []string

// lockDirs returns the directories where programs of this system put lock files.
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

// lockNames returns the names under which programs lock a port: that of the device and, if the path is a link, that of the link,
// because many programs do not resolve it. Of a path with more than one element below /dev some use the last one (ser2net),
// others write "pts_4" (minicom, picocom). The last element of a link outside /dev is not used: it may be another device's name.
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

// lock makes the port's lock files. The error is a lockedError. In a directory that this user cannot write, no file is
// made, but the lock files of other programs count.
func (s *Port) lock() (lockFiles, error) {
	dirs := s.lockDirs
	if dirs == nil {
		dirs = lockDirs()
	}
	var taken lockFiles
	var failure error
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
				failure = err
			}
		}
	}
	if len(taken) == 0 {
		s.logUnlocked.Do(func() {
			log := s.Log
			if log == nil {
				log = slog.Default()
			}
			log.Debug("no UUCP lock file: other programs may not see that the port is in use", "device", s.Path, "directories", fmt.Sprint(dirs), "err", failure)
		})
	}
	return taken, nil
}

// takeLock makes one lock file, and replaces a stale one. The error is a lockedError, or why the file cannot be made.
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
		pid, stale, readErr := readLock(file)
		switch {
		case errors.Is(readErr, fs.ErrNotExist) && errors.Is(err, fs.ErrExist): // removed since makeLock
		case readErr != nil:
			return false, err
		case !stale:
			return false, lockedError{file, pid}
		case removeStale(file) != nil: // the file belongs to another user, but its process is gone: go on without a lock file
			return false, err
		}
	}
	return false, err
}

// makeLock makes a lock file that has its contents from the moment it appears.
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

// readLock reads which process a lock file belongs to. It is stale if that process is gone, or if an old file names none.
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
	case pid <= 0, pid == os.Getpid(): // our own id: the files that we hold are in ownLocks, so this one is stale
		return pid, true, nil
	}
	return pid, errors.Is(syscall.Kill(pid, 0), syscall.ESRCH), nil
}

// removeStale removes a stale lock file. If another program has just replaced it, the new file is put back.
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

// remove removes the lock files, except those that belong to another program by now.
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

// programOf names a process: ": picocom, process 1234".
func programOf(pid int) string {
	if pid == 0 {
		return ""
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf(": process %d", pid)
	}
	return fmt.Sprintf(": %s, process %d", strings.Trim(strconv.QuoteToASCII(strings.TrimSpace(string(name))), `"`), pid)
}
