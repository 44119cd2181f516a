package terminal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"telnetcpc/bridge/termios"
	"telnetcpc/ptyhost/devpath"
)

// newTries is how many ptys New opens if other programs open their slaves before they are private.
const newTries = 5

// errOpenedEarly means that a program opened the slave before makePrivate.
var errOpenedEarly = errors.New("another program opens each new pseudo-terminal at once (end it)")

// Terminal is a pty whose slave programs open. WaitRead and ReadMaster have one caller, WaitWrite and WriteMaster another;
// every other method but Close may be called from any goroutine.
type Terminal struct {
	name   string
	master int
	mode   fs.FileMode
	*waiter
}

// New opens a raw pty at 9600 8N1 that belongs to access's owner and group and whose slave no process has open. Only
// this user (and root) may open the slave until AllowOpens. WaitRead and WaitWrite call tryRead and tryWrite, which
// must not block. The error is one line with the remedy.
func New(access devpath.Access, tryRead, tryWrite func() (done bool)) (t *Terminal, err error) {
	for range newTries {
		if t, err = makePTY(access, tryRead, tryWrite); !errors.Is(err, errOpenedEarly) {
			break
		}
	}
	if err != nil {
		return nil, ExplainLimit(err)
	}
	return t, nil
}

// makePTY is one try of New.
func makePTY(access devpath.Access, tryRead, tryWrite func() bool) (_ *Terminal, err error) {
	master, slave, err := openPair()
	if err != nil {
		return nil, err
	}
	defer master.Close()
	defer slave.Close()
	t := &Terminal{name: slave.Name(), mode: access.Mode}
	if t.master, err = nonblocking(master); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if t.waiter, err = newWaiter(t.master, tryRead, tryWrite); err != nil {
		return nil, err
	}
	if err := t.isPeer(slave); err != nil {
		return nil, err
	}
	if err := makePrivate(slave, access); err != nil {
		return nil, err
	}
	_ = slave.Close()
	if !t.Unused() {
		return nil, errOpenedEarly
	}
	if err := t.Reset(); err != nil {
		return nil, fmt.Errorf("termios of %s: %w", t.name, err)
	}
	return t, t.discard()
}

// isPeer returns an error unless the slave belongs to the master. pty.Open finds the slave in /dev/pts by its number.
// In a container with the host's /dev/ptmx, that number is another terminal.
func (t *Terminal) isPeer(slave *os.File) error {
	peer, err := t.OpenSlave(unix.O_RDWR | unix.O_NONBLOCK)
	switch {
	case err == nil:
		defer unix.Close(peer)
	case err == unix.ENODEV: // the number does not exist in this process's devpts
		err = fmt.Errorf("open the slave: %w", err)
	default:
		return fmt.Errorf("open the slave: %w", err)
	}
	var named, real unix.Stat_t
	if err == nil {
		err = unix.Fstat(peer, &real)
	}
	if err == nil {
		err = unix.Fstat(int(slave.Fd()), &named)
	}
	if err == nil && named.Dev == real.Dev && named.Ino == real.Ino {
		return nil
	}
	seen := fmt.Sprintf("inode %d:%d there, %d:%d at the master", named.Dev, named.Ino, real.Dev, real.Ino)
	if err != nil {
		seen = devpath.Cause(err).Error()
	}
	return fmt.Errorf("/dev/ptmx and %s do not belong together: %s (mount devpts on /dev/pts and link /dev/ptmx to pts/ptmx)", t.name, seen)
}

// discard drops what a program has written that opened the slave before it was private and closed it since.
func (t *Terminal) discard() error {
	peer, err := t.OpenSlave(unix.O_RDWR | unix.O_NONBLOCK)
	if err != nil {
		return fmt.Errorf("open the slave: %w", err)
	}
	defer unix.Close(peer)
	var dropped [4096]byte
	for n := 1; n > 0; {
		n, _ = t.ReadMaster(dropped[:])
	}
	_ = unix.IoctlSetInt(peer, unix.TCFLSH, unix.TCIOFLUSH)
	return nil
}

// Reset sets the slave's termios to that of a new Terminal; see termios.Reset.
func (t *Terminal) Reset() error {
	now, err := unix.IoctlGetTermios(t.master, termios.Get)
	if err != nil {
		return err
	}
	termios.Reset(now)
	return unix.IoctlSetTermios(t.master, termios.Set, now)
}

// OpenSlave opens the slave with the flags of open(2), never as the controlling terminal. It needs neither the path nor
// the permission to open it (TIOCGPTPEER, Linux 4.13). It fails with EBUSY if a program has the slave open exclusively
// (TIOCEXCL) and this process does not have CAP_SYS_ADMIN.
func (t *Terminal) OpenSlave(flags int) (fd int, err error) {
	got, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(t.master), unix.TIOCGPTPEER, uintptr(flags|unix.O_NOCTTY|unix.O_CLOEXEC))
	if errno != 0 {
		return -1, errno
	}
	return int(got), nil
}

// Unused reports whether no process has the slave open, this one included (POLLHUP at the master).
func (t *Terminal) Unused() bool {
	p := []unix.PollFd{{Fd: int32(t.master)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}

// ReadMaster reads what the programs have written, without blocking, and returns the number of bytes; 0: there are
// none. gone: and no process has the slave open (EIO).
func (t *Terminal) ReadMaster(p []byte) (n int, gone bool) { return readMaster(t.master, p) }

// WriteMaster writes bytes for the programs to read, without blocking, and returns how many; 0: there is no room.
func (t *Terminal) WriteMaster(p []byte) int { return writeMaster(t.master, p) }

// Termios reads the slave's termios into now, without an allocation, and reports whether that succeeded.
func (t *Terminal) Termios(now *unix.Termios) bool { return readTermios(t.master, now) }

// WaitRead calls tryRead, each time the master may have become readable, until it returns true. It has one caller. The
// error is os.ErrDeadlineExceeded after PokeReader, and another one after Close.
func (t *Terminal) WaitRead() error { return t.read() }

// WaitWrite calls tryWrite, each time the master may have room, until it returns true. It has one caller. The errors
// are those of WaitRead, with PokeWriter.
func (t *Terminal) WaitWrite() error { return t.write() }

// PokeReader ends WaitRead's wait: the current one, and each that begins before UnpokeReader.
func (t *Terminal) PokeReader() { t.pokeReader() }

// UnpokeReader lets WaitRead wait again.
func (t *Terminal) UnpokeReader() { t.unpokeReader() }

// PokeWriter does the same for WaitWrite, until UnpokeWriter.
func (t *Terminal) PokeWriter() { t.pokeWriter() }

// UnpokeWriter lets WaitWrite wait again.
func (t *Terminal) UnpokeWriter() { t.unpokeWriter() }

// Close ends every wait, returns when neither tryRead nor tryWrite is running, and closes the master: reads of the
// programs that have the slave open return end of file, their writes fail with EIO. It is called once.
func (t *Terminal) Close() {
	if t.waiter != nil {
		t.close()
	}
	_ = unix.Close(t.master)
}
