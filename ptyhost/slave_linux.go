package ptyhost

import (
	"fmt"

	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
	"telnetcpc/ptyhost/terminal"
)

// ownSlave is the slave that a port holds open for itself, and its twin for order; -1: none. While it is open the
// master has no POLLHUP, and every change of termios wakes the epoll sets that have it.
type ownSlave struct{ fd, twin int }

func noSlave() ownSlave { return ownSlave{-1, -1} }

func (s ownSlave) isOpen() bool { return s.fd >= 0 }

// openSlave opens the slave of term. Its errors are those of terminal.Terminal.OpenSlave.
func openSlave(term *terminal.Terminal) (ownSlave, error) {
	fd, err := term.OpenSlave(unix.O_RDWR | unix.O_NONBLOCK)
	if err != nil {
		return noSlave(), fmt.Errorf("open the slave: %w", err)
	}
	twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_ = unix.Close(fd)
		return noSlave(), fmt.Errorf("open the slave: %w", err)
	}
	return ownSlave{fd, twin}, nil
}

// close closes both descriptors.
func (s *ownSlave) close() {
	if !s.isOpen() {
		return
	}
	_ = unix.Close(s.twin)
	_ = unix.Close(s.fd)
	*s = noSlave()
}

// start opens the pty, gives it to its owner and begins to watch it; programs may open it when start returns.
func (p *port) start(access devpath.Access) (err error) {
	p.slave, p.reported = noSlave(), firstSettings()
	if p.order, err = newOrder(); err != nil {
		return err
	}
	p.term, err = terminal.New(access, p.tryNext, p.tryWrite)
	if err == nil {
		p.slave, err = openSlave(p.term)
	}
	if err == nil {
		err = p.order.add(p.slave)
	}
	if err == nil {
		err = join(p)
	}
	if err == nil {
		err = p.term.AllowOpens()
	}
	if err != nil {
		p.closeDevice()
	}
	return err
}
