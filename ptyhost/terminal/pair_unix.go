//go:build linux || darwin || freebsd

package terminal

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
)

// modePrivate is a slave's mode until AllowOpens: only the user that has opened the pty (and root) may open it.
const modePrivate = fs.FileMode(0o600)

// Check opens and closes a pty. The error is the reason why that fails, with the remedy.
func Check() error {
	master, slave, err := openPair()
	if err != nil {
		return err
	}
	_ = slave.Close()
	_ = master.Close()
	return nil
}

// openPair opens a pty. The caller closes both ends.
func openPair() (master, slave *os.File, err error) {
	if master, slave, err = pty.Open(); err != nil {
		return nil, nil, explainOpen(err)
	}
	return master, slave, nil
}

// nonblocking returns a non-blocking descriptor for what pty.Open returned: that file blocks, so neither a deadline nor
// Close would end a read of it, and its finalizer closes it. The two share O_NONBLOCK, so the caller may only close its
// own.
func nonblocking(master *os.File) (int, error) {
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("the pty's master: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("the pty's master: %w", err)
	}
	return fd, nil
}

// makePrivate restricts the slave to this user (and root) and sets its owner and group. Until then the system's default
// mode applies: on Linux often a group may open it (the options gid and mode of devpts).
func makePrivate(slave *os.File, access devpath.Access) error {
	if err := slave.Chmod(modePrivate); err != nil {
		return fmt.Errorf("mode of %s: %w", slave.Name(), devpath.Cause(err))
	}
	return access.Give(slave)
}

// Name returns the slave's device: /dev/pts/4.
func (t *Terminal) Name() string { return t.name }

// Master returns the descriptor of the pty's master. It is nonblocking, and valid until Close.
func (t *Terminal) Master() int { return t.master }

// AllowOpens sets the slave's mode to that of New's access: from then on everyone with permission may open it.
func (t *Terminal) AllowOpens() error {
	if err := os.Chmod(t.name, t.mode); err != nil {
		return fmt.Errorf("mode %o of %s: %w", t.mode, t.name, devpath.Cause(err))
	}
	return nil
}
