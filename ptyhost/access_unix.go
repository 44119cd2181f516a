//go:build linux || darwin || freebsd

package ptyhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// modeDefault lets the port's owner and its group use it.
	modeDefault = fs.FileMode(0o660)
	// modeShut is a port's mode until everything is ready: nobody but the user that makes it (and root).
	modeShut = fs.FileMode(0o600)
	// groupDefault is the group that may use serial ports on Debian and its kin; root's ports belong to it.
	groupDefault = "dialout"
)

// access is who may open a port. An id of -1 is left as the system makes it.
type access struct {
	uid, gid int
	mode     fs.FileMode
}

// lookUp turns names or numbers and a mode into an access; see Host.Open for what empty ones mean.
func lookUp(owner, group string, mode fs.FileMode) (access, error) {
	a := access{uid: -1, gid: -1, mode: mode.Perm()}
	if a.mode == 0 {
		a.mode = modeDefault
	}
	if owner != "" {
		id, err := lookUpID(owner, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			return a, fmt.Errorf("owner %q: %w (want the name or the number of a user)", owner, err)
		}
		a.uid = id
	}
	byName := func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	}
	switch {
	case group != "":
		id, err := lookUpID(group, byName)
		if err != nil {
			return a, fmt.Errorf("group %q: %w (want the name or the number of a group)", group, err)
		}
		a.gid = id
	case os.Geteuid() == 0:
		if id, err := lookUpID(groupDefault, byName); err == nil {
			a.gid = id
		}
	}
	return a, nil
}

// lookUpID returns the number that s is, or that byName knows for it.
func lookUpID(s string, byName func(string) (string, error)) (int, error) {
	if id, err := strconv.ParseUint(s, 10, 31); err == nil {
		return int(id), nil
	}
	text, err := byName(s)
	if err != nil {
		return 0, errors.New("unknown")
	}
	return strconv.Atoi(text)
}

// give sets the owner and the group of a pty's slave. The mode is not part of it: it opens the door, and comes last.
func (a access) give(slave *os.File) error {
	if a.uid == -1 && a.gid == -1 {
		return nil
	}
	err := slave.Chown(a.uid, a.gid)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("owner or group of %s: %w (only root may give a port away; others only to a group they are in)", slave.Name(), unix.EPERM)
	}
	return err
}

// explainOpen says what to do when the system makes no pty.
func explainOpen(err error) error {
	err = cause(err)
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("no pseudo-terminal is left: %w (end programs that use some, or raise kernel.pty.max)", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no pseudo-terminal can be made: %w (is devpts mounted on /dev/pts, and is /dev/ptmx there?)", err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("no pseudo-terminal can be made: %w (raise the limit: ulimit -n, or LimitNOFILE= of the service)", err)
	}
	return fmt.Errorf("no pseudo-terminal can be made: %w", err)
}
