//go:build linux || darwin || freebsd

package ptyhost

import (
	"errors"
	"fmt"
	"io/fs"

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
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("no pseudo-terminal can be made: %w (raise the limit: ulimit -n, or LimitNOFILE= of the service)", err)
	}
	return fmt.Errorf("no pseudo-terminal can be made: %w", err)
}
