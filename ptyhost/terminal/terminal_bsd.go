//go:build darwin || freebsd

package terminal

import (
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/ptyhost/devpath"
)

// Terminal is a pty whose slave programs open. Its methods may be called from any goroutine until Close.
type Terminal struct {
	name   string
	master int
	mode   fs.FileMode
}

// New opens a pty that belongs to access's owner and group. Only this user (and root) may open the slave until
// AllowOpens. fresh is the system's default termios, which a slave has at its first open and again after each last
// close.
func New(access devpath.Access) (t *Terminal, fresh unix.Termios, err error) {
	master, slave, err := openPair()
	if err != nil {
		return nil, fresh, err
	}
	defer master.Close()
	defer slave.Close()
	t = &Terminal{name: slave.Name(), mode: access.Mode}
	if err := makePrivate(slave, access); err != nil {
		return nil, fresh, ExplainLimit(err)
	}
	now, err := unix.IoctlGetTermios(int(slave.Fd()), termios.Get)
	if err != nil {
		return nil, fresh, fmt.Errorf("termios of %s: %w", t.name, err)
	}
	if t.master, err = nonblocking(master); err != nil {
		return nil, fresh, ExplainLimit(err)
	}
	return t, *now, nil
}

// Close closes the master: reads of the programs that have the slave open return end of file, their writes fail with
// EIO. It is called once, when no other call uses the terminal.
func (t *Terminal) Close() { _ = unix.Close(t.master) }
