//go:build linux || darwin || freebsd

package ptyhost

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
)

// explainOpen says what to do when the system makes no pty.
func explainOpen(err error) error {
	err = devpath.Cause(err)
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("no pseudo-terminal is left: %w (end programs that use some, or raise kernel.pty.max)", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no pseudo-terminal can be made: %w (is devpts mounted on /dev/pts, and is /dev/ptmx there?)", err)
	}
	return explainLimit(fmt.Errorf("no pseudo-terminal can be made: %w", err))
}

// moreFiles is the way out where too many files are open.
const moreFiles = "(raise the limit: ulimit -n, or LimitNOFILE= of the service)"

// explainLimit says what to do when too many files are open, at whichever of a port's descriptors that was; once.
func explainLimit(err error) error {
	if (errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)) && !strings.Contains(err.Error(), moreFiles) {
		return fmt.Errorf("%w %s", err, moreFiles)
	}
	return err
}
