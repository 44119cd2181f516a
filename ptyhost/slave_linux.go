package ptyhost

import (
	"errors"
	"fmt"
	"os"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
)

// shutTries is how many ptys start makes, when others open them before they are shut.
const shutTries = 5

// errOpenedEarly says that somebody opened a pty between its making and its shutting.
var errOpenedEarly = errors.New("another program opens each new pseudo-terminal at once (end it)")

// own is the slave descriptor that a port holds for itself, and its twin for the latch; -1: none. While it is held the
// master never reports that nobody has the slave open, and every change of termios raises a notice on it.
type own struct{ fd, twin int }

func noOwn() own { return own{-1, -1} }

func (o own) held() bool { return o.fd >= 0 }

// openOwn opens the slave through its master, which needs neither the path nor a right to it (Linux 4.13). It fails with
// EBUSY where an application has the slave for itself (TIOCEXCL) and this process is not privileged.
func openOwn(master int) (own, error) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := openPeer(master, flags)
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

// openPeer opens the slave of a master, with the flags of open(2).
func openPeer(master, flags int) (fd int, err error) {
	got, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, uintptr(flags))
	if errno != 0 {
		return -1, errno
	}
	return int(got), nil
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

// start makes the pty, gives it to whom it shall belong and begins to watch it; the mode opens the door last.
func (p *port) start(who devpath.Access) (err error) {
	p.slave, p.told, p.master = noOwn(), firstSettings(), -1
	if p.latch, err = newLatch(); err != nil {
		return err
	}
	for range shutTries {
		if err = p.make(who); !errors.Is(err, errOpenedEarly) {
			break
		}
	}
	if err == nil {
		err = join(p)
	}
	if err == nil {
		if err = os.Chmod(p.name, who.Mode); err != nil {
			err = fmt.Errorf("mode %o of %s: %w", who.Mode, p.name, devpath.Cause(err))
		}
	}
	if err != nil {
		p.end()
	}
	return err
}

// make makes a raw pty at 9600 8N1 which nobody but this user (and root) can open, and nobody has open. What it has made
// when it fails end closes.
func (p *port) make(who devpath.Access) error {
	master, slave, err := pty.Open()
	if err != nil {
		return explainOpen(err)
	}
	defer master.Close()
	defer slave.Close()
	p.name = slave.Name()
	if err := p.takeMaster(master); err != nil {
		return err
	}
	if err := p.shut(slave, who); err != nil {
		return err
	}
	_ = slave.Close()
	if !nobodyHas(p.master) {
		p.wait.close()
		_ = unix.Close(p.master)
		p.wait, p.master = nil, -1
		return errOpenedEarly
	}
	if err := makeRaw(p.master); err != nil {
		return fmt.Errorf("termios of %s: %w", p.name, err)
	}
	if p.slave, err = openOwn(p.master); err != nil {
		return err
	}
	p.drop()
	return p.latch.add(p.slave.fd, p.slave.twin)
}

// shut leaves the slave to this user (and root) and gives it its owner and group. Before it devpts alone has said who
// may open it: often a group (its options gid and mode).
func (p *port) shut(slave *os.File, who devpath.Access) error {
	// pty.Open goes by the number to /dev/pts. In a container with the host's /dev/ptmx the number there is somebody
	// else's terminal.
	peer, err := openOwn(p.master)
	defer peer.close()
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	var named, real unix.Stat_t
	if err == nil {
		err = unix.Fstat(peer.fd, &real)
	}
	if err == nil {
		err = unix.Fstat(int(slave.Fd()), &named)
	}
	if err != nil || named.Dev != real.Dev || named.Ino != real.Ino {
		seen := fmt.Sprintf("inode %d:%d there, %d:%d behind the master", named.Dev, named.Ino, real.Dev, real.Ino)
		if err != nil {
			seen = devpath.Cause(err).Error()
		}
		return fmt.Errorf("/dev/ptmx and %s do not belong together: %s (mount devpts on /dev/pts and link /dev/ptmx to pts/ptmx)", p.name, seen)
	}
	if err := slave.Chmod(modeShut); err != nil {
		return fmt.Errorf("mode of %s: %w", p.name, devpath.Cause(err))
	}
	return who.Give(slave)
}

// drop throws away what somebody wrote who came and went before the door was shut.
func (p *port) drop() {
	var dropped [readSize]byte
	for n := 1; n > 0; {
		n, _ = readMaster(p.master, dropped[:])
	}
	_ = unix.IoctlSetInt(p.slave.fd, unix.TCFLSH, unix.TCIOFLUSH)
}

// takeMaster makes p.master of what pty.Open returned: that one blocks, and neither a deadline nor Close would end a
// read of it. The two share O_NONBLOCK, so the caller must only close its own.
func (p *port) takeMaster(blocking *os.File) error {
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("the pty's master: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("the pty's master: %w", err)
	}
	p.master = fd
	p.wait, err = newWaiter(fd, p.look, p.give)
	return err
}

// masterFD is the descriptor of the master, until end.
func (p *port) masterFD() int { return p.master }

// nobodyHas reports whether no process has the slave open.
func nobodyHas(master int) bool {
	p := []unix.PollFd{{Fd: int32(master)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}
