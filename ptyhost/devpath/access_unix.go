//go:build linux || darwin || freebsd

package devpath

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
	// modeDefault allows the port's owner and group to read and write.
	modeDefault = fs.FileMode(0o660)
	// groupDefault is the group that may use serial ports on Debian and its derivatives; root's ports belong to it.
	groupDefault = "dialout"
)

// Access is the owner, the group and the mode of a port's device. An id of -1 leaves the system's default.
type Access struct {
	UID, GID int
	Mode     fs.FileMode
}

// LookUp turns names or numbers and a mode into an Access. Mode 0 is 0660. An empty group is dialout for root, if that
// group exists; otherwise, like an empty owner, it leaves the system's default.
func LookUp(owner, group string, mode fs.FileMode) (Access, error) {
	a := Access{UID: -1, GID: -1, Mode: mode.Perm()}
	if a.Mode == 0 {
		a.Mode = modeDefault
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
		a.UID = id
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
		a.GID = id
	case os.Geteuid() == 0:
		if id, err := lookUpID(groupDefault, byName); err == nil {
			a.GID = id
		}
	}
	return a, nil
}

// lookUpID returns the id that s is, as a number, or that byName returns for it, as a name.
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

// Give sets the owner and the group of a port's device. It does not set the mode: the mode admits programs, so it is
// set last.
func (a Access) Give(device *os.File) error {
	if a.UID == -1 && a.GID == -1 {
		return nil
	}
	err := device.Chown(a.UID, a.GID)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("owner or group of %s: %w (only root may give a port away; others only to a group they are in)", device.Name(), unix.EPERM)
	}
	return err
}
