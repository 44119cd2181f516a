package ptyhost

import (
	"fmt"

	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
	"telnetcpc/ptyhost/terminal"
)

// own is the slave descriptor that a port holds for itself, and its twin for the latch; -1: none. While it is held the
// master never reports that nobody has the slave open, and every change of termios raises a notice on it.
type own struct{ fd, twin int }

func noOwn() own { return own{-1, -1} }

func (o own) held() bool { return o.fd >= 0 }

// openOwn opens the slave; see terminal.Terminal.OpenSlave.
func openOwn(term *terminal.Terminal) (own, error) {
	fd, err := term.OpenSlave(unix.O_RDWR | unix.O_NONBLOCK)
	if err != nil {
		return noOwn(), fmt.Errorf("open the slave: %w", err)
	}
	twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_ = unix.Close(fd)
		return noOwn(), fmt.Errorf("open the slave: %w", err)
	}
	return own{fd, twin}, nil
}

// close closes both descriptors.
func (o *own) close() {
	if !o.held() {
		return
	}
	_ = unix.Close(o.twin)
	_ = unix.Close(o.fd)
	*o = noOwn()
}

// start makes the pty, gives it to its owner and begins to watch it; programs may open it when it returns.
func (p *port) start(access devpath.Access) (err error) {
	p.slave, p.told = noOwn(), firstSettings()
	if p.latch, err = newLatch(); err != nil {
		return err
	}
	p.term, err = terminal.New(access, p.look, p.give)
	if err == nil {
		p.slave, err = openOwn(p.term)
	}
	if err == nil {
		err = p.latch.add(p.slave.fd, p.slave.twin)
	}
	if err == nil {
		err = join(p)
	}
	if err == nil {
		err = p.term.AllowOpens()
	}
	if err != nil {
		p.end()
	}
	return err
}
