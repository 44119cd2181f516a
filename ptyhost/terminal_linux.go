package ptyhost

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"telnetcpc/ptyhost/devpath"
)

// Terminal is a pty for the host in package run, which knows more of its programs than a pty tells and so has no use for
// this package's port: a raw pty at 9600 8N1 that nobody has open, and the waits for its master.
type Terminal struct {
	name   string
	master int
	*waiter
}

// NewTerminal makes a pty that belongs to who. look and give are called in Read and Write until they are done, under no
// lock, and never wait. The rights of who hold when it returns: the slave may be opened.
func NewTerminal(who devpath.Access, look, give func() (done bool)) (*Terminal, error) {
	p := &port{}
	p.slave, p.master = noOwn(), -1
	var err error
	if p.latch, err = newLatch(); err != nil {
		return nil, explainLimit(err)
	}
	defer func() { _ = unix.Close(p.latch.set) }()
	for range shutTries {
		if err = p.make(who); err != errOpenedEarly {
			break
		}
	}
	p.slave.close()
	t := &Terminal{name: p.name, master: p.master}
	if p.wait != nil {
		p.wait.close() // it waits for p
	}
	if err == nil {
		t.waiter, err = newWaiter(t.master, look, give)
	}
	if err == nil {
		if err = os.Chmod(t.name, who.Mode); err != nil {
			err = fmt.Errorf("mode %o of %s: %w", who.Mode, t.name, devpath.Cause(err))
			t.waiter.close()
		}
	}
	if err != nil {
		if t.master >= 0 {
			_ = unix.Close(t.master)
		}
		return nil, explainLimit(err)
	}
	return t, nil
}

// Name is the slave's device: /dev/pts/4.
func (t *Terminal) Name() string { return t.name }

// Master is the descriptor of the pty's master. It never blocks, and is valid until Close.
func (t *Terminal) Master() int { return t.master }

// ReadMaster reads what the programs have written, without waiting, and returns how much; 0: there is nothing. gone: and
// nobody has the slave open.
func (t *Terminal) ReadMaster(p []byte) (n int, gone bool) { return readMaster(t.master, p) }

// WriteMaster gives the programs bytes, without waiting, and returns how many; 0: there is no room.
func (t *Terminal) WriteMaster(p []byte) int { return writeMaster(t.master, p) }

// Read calls look until it is done. It has one caller. The error says that the wait was poked (os.ErrDeadlineExceeded) or
// is over.
func (t *Terminal) Read() error { return t.read() }

// Write calls give until it is done. It has one caller. Errors are those of Read.
func (t *Terminal) Write() error { return t.write() }

// PokeReader ends the wait of Read, now or when it begins, until UnpokeReader; PokeWriter that of Write. Anyone may call
// them.
func (t *Terminal) PokeReader() { t.pokeReader() }

// UnpokeReader lets Read wait again.
func (t *Terminal) UnpokeReader() { t.unpokeReader() }

// PokeWriter ends the wait of Write.
func (t *Terminal) PokeWriter() { t.pokeWriter() }

// UnpokeWriter lets Write wait again.
func (t *Terminal) UnpokeWriter() { t.unpokeWriter() }

// OpenSlave opens the slave with the flags of open(2), never as the controlling terminal. It needs neither the path nor a
// right to it. It fails with EBUSY where a program has the slave for itself (TIOCEXCL) and this process is not privileged.
func (t *Terminal) OpenSlave(flags int) (fd int, err error) {
	return openPeer(t.master, flags|unix.O_NOCTTY|unix.O_CLOEXEC)
}

// NobodyHas reports whether no process has the slave open.
func (t *Terminal) NobodyHas() bool { return nobodyHas(t.master) }

// Close ends every wait, and then the pty: reads of the programs that have it open return end of file, writes EIO. It is
// called once.
func (t *Terminal) Close() {
	t.close()
	_ = unix.Close(t.master)
}
