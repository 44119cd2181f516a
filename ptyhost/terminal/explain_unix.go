//go:build linux || darwin || freebsd

package terminal

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
)

// explainOpen adds the remedy to an error of opening a pty.
func explainOpen(err error) error {
	err = devpath.Cause(err)
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("no pseudo-terminal is left: %w (end programs that use some, or raise kernel.pty.max)", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no pseudo-terminal can be made: %w (is devpts mounted on /dev/pts, and is /dev/ptmx there?)", err)
	}
	return ExplainLimit(fmt.Errorf("no pseudo-terminal can be made: %w", err))
}

// moreFiles is the remedy if too many files are open.
const moreFiles = "(raise the limit: ulimit -n, or LimitNOFILE= of the service)"

// ExplainLimit adds the remedy to an error that means too many open files (EMFILE, ENFILE), unless the error has it
// already.
func ExplainLimit(err error) error {
	if (errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)) && !strings.Contains(err.Error(), moreFiles) {
		return fmt.Errorf("%w %s", err, moreFiles)
	}
	return err
}
